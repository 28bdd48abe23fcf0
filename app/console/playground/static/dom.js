// Small helpers; text goes in as text only, never as markup.

export const $ = (id) => document.getElementById(id);

export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

export function milliseconds(value) {
  return `${Math.round(value).toLocaleString("zh-CN")} ms`;
}

export function shortTime(value) {
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

// A question may carry orders for the simulated Dify, [[wait=3]]: shown as small marks.
export function withOrders(text) {
  const parts = text.split(/(\[\[[a-z_0-9]+(?:=[^\]]*)?\]\])/);
  return parts
    .filter((part) => part && !part.startsWith("[[no="))
    .map((part) => (part.startsWith("[[") ? make("code", "order", part.slice(2, -2)) : part.trimEnd()));
}

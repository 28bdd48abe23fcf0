// Lines of counts over time, as SVG.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640;
const HEIGHT = 170;
const LEFT = 34;
const BOTTOM = 20;
const TOP = 8;
const LINES = ["sent", "waiting", "answered"];

export function drawChart(box, samples) {
  if (!box.firstChild) prepare(box);
  if (!samples.length) return;
  const end = Math.max(1000, samples.at(-1).at);
  const most = Math.max(10, ...samples.map(({ sent }) => sent));
  const x = (at) => (LEFT + ((WIDTH - LEFT - 4) * at) / end).toFixed(1);
  const y = (count) => (TOP + (HEIGHT - TOP - BOTTOM) * (1 - count / most)).toFixed(1);
  for (const name of LINES) {
    const points = samples.map((sample) => `${x(sample.at)},${y(sample[name])}`).join("L");
    part(box, name).setAttribute("d", `M${points}`);
    if (name === "answered") part(box, "area").setAttribute("d", `M${x(0)},${y(0)}L${points}L${x(samples.at(-1).at)},${y(0)}Z`);
  }
  part(box, "most").textContent = String(most);
  part(box, "half").textContent = String(Math.round(most / 2));
  part(box, "end").textContent = `${(end / 1000).toFixed(0)} s`;
}

function part(box, name) {
  return box.querySelector(`.${name}`);
}

function prepare(box) {
  box.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  const floor = HEIGHT - BOTTOM;
  for (const level of [TOP, (TOP + floor) / 2, floor]) add(box, "line", "grid", { x1: LEFT, x2: WIDTH, y1: level, y2: level });
  add(box, "path", "area", {});
  for (const name of LINES) add(box, "path", name, {});
  add(box, "text", "most", { x: LEFT - 6, y: TOP + 5, "text-anchor": "end" });
  add(box, "text", "half", { x: LEFT - 6, y: (TOP + floor) / 2 + 4, "text-anchor": "end" });
  add(box, "text", "zero", { x: LEFT - 6, y: floor + 4, "text-anchor": "end" }).textContent = "0";
  add(box, "text", "end", { x: WIDTH, y: HEIGHT - 5, "text-anchor": "end" });
}

function add(box, tag, name, attributes) {
  const element = document.createElementNS(SVG, tag);
  element.setAttribute("class", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  box.append(element);
  return element;
}

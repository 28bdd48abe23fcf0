// Beside the phone: the way of one message, station by station.

import { $, make, milliseconds, withOrders } from "./dom.js";

const SHORTEST_SCALE_MS = 50;
const LAST_START_PERCENT = 99;

export function renderWay(entry) {
  $("way-empty").hidden = true;
  $("way").hidden = false;
  $("quote").replaceChildren(make("b", "", entry.event.nickname), " ", ...withOrders(entry.event.text));
  const verdict = $("verdict");
  verdict.hidden = false;
  verdict.textContent = entry.label;
  verdict.dataset.tone = entry.tone;
  $("explanation").textContent = entry.explanation;
  $("stations").replaceChildren(...(entry.way ? stationsOf(entry.way) : []));
  $("facts").replaceChildren(...(entry.way ? factsOf(entry.way) : []));
}

export function forgetWay() {
  $("way-empty").hidden = false;
  $("way").hidden = true;
  $("verdict").hidden = true;
}

function stationsOf(way) {
  const isAnswered = !["ignored", "refused"].includes(way.state);
  const stations = isAnswered ? way.stations : way.stations.slice(0, 1);
  const ends = [...way.stations, way.done].map((one) => one.ms ?? 0).concat(way.segments.map((one) => one.sent_ms ?? 0));
  const scale = Math.max(SHORTEST_SCALE_MS, ...ends);
  let last = 0;
  const rows = stations.map((station) => {
    const from = Math.min(last, station.ms ?? last);
    last = Math.max(last, station.ms ?? last);
    return row(station.label, from, station.ms, scale, station.name);
  });
  for (const segment of way.segments) rows.push(segmentRow(segment, scale));
  if (isAnswered && way.segments.length === 0 && way.done.ms === null) rows.push(row("发送到群", 0, null, scale, "segment"));
  if (isAnswered) rows.push(row(way.done.label, way.done.ms ?? 0, way.done.ms, scale, "done"));
  return rows;
}

function segmentRow(segment, scale) {
  const label = segment.state === "sent" ? `发送第 ${segment.seq + 1} 段` : `第 ${segment.seq + 1} 段${segment.label}`;
  const end = segment.sent_ms ?? segment.sending_ms ?? segment.planned_ms;
  const item = row(label, segment.planned_ms, segment.sent_ms, scale, "segment", end);
  const waited = `${milliseconds(segment.planned_ms)} 计划`;
  const called = segment.sending_ms === null ? "" : `,${milliseconds(segment.sending_ms)} 调用网关`;
  item.title = waited + called + (segment.error ? `,${segment.error}` : "");
  return item;
}

function row(label, from, at, scale, name, end = at) {
  const bar = make("i");
  const item = make("li", at === null ? "station" : "station reached",
    make("span", "label", label),
    make("span", "track", bar),
    make("span", "ms", at === null ? "…" : milliseconds(at)));
  item.dataset.station = name;
  if (end !== null) {
    const start = Math.max(0, Math.min(from, end));
    bar.style.setProperty("--from", `${Math.min(LAST_START_PERCENT, (100 * start) / scale)}%`);
    bar.style.setProperty("--length", `${(100 * Math.max(0, end - start)) / scale}%`);
  } else {
    bar.hidden = true;
  }
  return item;
}

function factsOf(way) {
  const facts = [["消息编号", way.message_id], ["newMsgId", way.new_msg_id]];
  if (way.attempts) facts.push(["失败的尝试", `${way.attempts} 次`]);
  if (way.crashes) facts.push(["进程崩溃", `${way.crashes} 次`]);
  if (way.deliveries > 1) facts.push(["网关投递", `${way.deliveries} 次,只处理一次`]);
  if (way.dify_conversation_id) facts.push(["Dify 会话", way.dify_conversation_id]);
  if (way.total_tokens) facts.push(["用量", `${way.total_tokens} tokens`]);
  if (way.detail) facts.push(["细节", way.detail]);
  if (way.error) facts.push(["最近的错误", way.error]);
  return facts.map(([name, value]) => make("div", "", make("dt", "", name), make("dd", "", value)));
}

// The playground: a group on a phone, driven over the gateway, and the way of each message beside it.

import { Chat, initial } from "./chat.js";
import { $, make, shortTime } from "./dom.js";
import { Gateway } from "./gateway.js";
import { Troubles } from "./troubles.js";
import { forgetWay, renderWay } from "./way.js";
import { Ways } from "./ways.js";

const MOST_FOLLOWED_AT_START = 30;
const LOST = "网关没有投递这条消息的回调,所以桥不知道它。";

const gateway = new Gateway(document.body.dataset.gateway);
const chat = new Chat({ onSelect: select });
const ways = new Ways({ onWay: showWay, onLost: showLost, onBridge: (isThere) => trouble("bridge", isThere) });
const troubles = new Troubles(gateway, { onFailed: () => trouble("order", false) });

const ALARMS = [
  ["gateway", "连接断开,重连中…"],
  ["bridge", "桥没有响应,重试中…"],
  ["order", "网关没有接受,请再试一次。"],
];

const entries = new Map(); // newMsgId of a question -> what is known of it
const answers = new Map(); // newMsgId of a bot's bubble -> newMsgId of its question
const missing = new Set();
let group = null;
let speakers = [];
let chosen = null;

function trouble(part, isThere) {
  if (isThere) missing.delete(part);
  else missing.add(part);
  const alarm = $("alarm");
  alarm.hidden = missing.size === 0;
  alarm.textContent = ALARMS.find(([name]) => missing.has(name))?.[1] ?? "";
  const link = $("link");
  link.dataset.state = missing.size ? "bad" : "good";
  link.textContent = missing.size ? "已断开" : "已连接";
}

function enter(world, isNew) {
  trouble("gateway", true);
  trouble("order", true);
  troubles.refresh().catch(() => trouble("order", false));
  if (!isNew) return;
  group = world.groups[0];
  chat.clear();
  ways.clear();
  entries.clear();
  answers.clear();
  chosen = null;
  forgetWay();
  chat.meet(group.members);
  speakers = group.members.filter((member) => !member.bot);
  const bot = group.members.find((member) => member.bot);
  $("group").textContent = group.name;
  $("count").textContent = `(${group.members.length})`;
  $("mention-name").textContent = `@${bot?.shownName ?? "机器人"}`;
  $("together").textContent = `${["", "一", "两", "三"][speakers.length] ?? speakers.length}人同时说`;
  $("speakers").replaceChildren(...speakers.map(speakerChip));
  hold(speakers[0].wcId);
}

function speakerChip(person) {
  const input = make("input");
  input.type = "radio";
  input.name = "speaker";
  input.value = person.wcId;
  input.addEventListener("change", () => hold(person.wcId));
  const face = chat.avatar(person.wcId);
  face.textContent = initial(person);
  return make("label", "chip", input, face, make("span", "", person.nickName));
}

function hold(wcId) {
  chat.hold(wcId);
  for (const input of document.getElementsByName("speaker")) input.checked = input.value === wcId;
}

function hear(event) {
  if (event.group !== group.groupId) return;
  if (event.type === "revoked") {
    chat.recall(event.newMsgId);
    return;
  }
  if (!chat.add(event) || event.type !== "said") {
    highlight();
    return;
  }
  entries.set(event.newMsgId, { event, way: null, label: "投递中", tone: "busy", explanation: "网关正在把这条消息作为回调发给桥。" });
  const isRecent = Date.now() - event.at_ms < 60000 || entries.size <= MOST_FOLLOWED_AT_START;
  if (isRecent) ways.follow(event.newMsgId);
  select(event.newMsgId);
}

function showWay(way) {
  const entry = entries.get(way.new_msg_id);
  if (!entry) return;
  Object.assign(entry, { way, label: way.label, tone: way.tone, explanation: way.explanation });
  for (const { new_msg_id: sent } of way.segments) if (sent) answers.set(sent, way.new_msg_id);
  const isDone = way.state === "done" && way.done.ms !== null;
  chat.mark(way.new_msg_id, isDone ? `${way.label} · ${shortTime(way.done.ms)}` : way.label, way.tone);
  if (way.new_msg_id === chosen) show();
}

function showLost(newMsgId) {
  const entry = entries.get(newMsgId);
  if (!entry) return;
  Object.assign(entry, { label: "没有收到", tone: "warn", explanation: LOST });
  chat.mark(newMsgId, entry.label, entry.tone);
  if (newMsgId === chosen) show();
}

function select(newMsgId) {
  const question = entries.has(newMsgId) ? newMsgId : answers.get(newMsgId);
  if (!question) return;
  chosen = question;
  if (!entries.get(question).way) ways.follow(question);
  show();
}

function show() {
  renderWay(entries.get(chosen));
  highlight();
}

function highlight() {
  const mine = [...answers].filter(([, question]) => question === chosen).map(([sent]) => sent);
  chat.choose(new Set([chosen, ...mine]));
}

async function say(people) {
  const box = $("text");
  const text = box.value.trim();
  if (!text || !group) return;
  box.value = "";
  fit();
  try {
    const order = { group: group.groupId, text: troubles.decorate(text), mention_bot: $("mention").checked };
    await Promise.all(people.map((person) => gateway.say({ ...order, person })));
    trouble("order", true);
  } catch {
    box.value = text;
    trouble("order", false);
  }
  box.focus();
}

function fit() {
  const box = $("text");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  say([chat.speaker]);
});
$("text").addEventListener("input", fit);
$("text").addEventListener("keydown", (event) => {
  // While an input method composes, Enter belongs to it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  say([chat.speaker]);
});
$("together").addEventListener("click", () => say(speakers.map((person) => person.wcId)));
$("mention").checked = document.body.dataset.mention === "yes";

gateway.listen({ onWorld: enter, onEvent: hear, onCut: () => trouble("gateway", false) });
fit();

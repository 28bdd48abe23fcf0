// The playground: a group on a phone, driven over the gateway, and the way of each message beside it.

import { Burst } from "./burst.js";
import { Chat, initial } from "./chat.js";
import { Dify } from "./dify.js";
import { $, make, shortTime } from "./dom.js";
import { Gateway } from "./gateway.js";
import { MENTION_END, Mentions } from "./mention.js";
import { Pictures } from "./pictures.js";
import { Popup } from "./popup.js";
import { Troubles } from "./troubles.js";
import { Upstream } from "./upstream.js";
import { forgetWay, renderWay } from "./way.js";
import { Ways } from "./ways.js";

const MOST_FOLLOWED_AT_START = 30;
const NOTICE_MS = 5000;
const LOST = "网关没有投递这条消息的回调,所以桥不知道它。";

let group = null;
let speakers = [];
const gateway = new Gateway(document.body.dataset.gateway);
const chat = new Chat({ gateway: gateway.base, onSelect: select, onMenu: offer });
const menu = new Popup($("menu"));
const ways = new Ways({ onWay: showWay, onLost: showLost, onBridge: (isThere) => trouble("bridge", isThere) });
const dify = new Dify();
const troubles = new Troubles(gateway, dify, { onFailed: () => trouble("order", false) });

const mentions = new Mentions($("text"), {
  faceOf: (member) => face(member),
  speaker: () => chat.speaker,
});
const pictures = new Pictures({
  onPicture: (blob) => order(() => gateway.sendPicture(blob, { group: group.groupId, person: chat.speaker })),
  onRefused: () => tell("只能发 PNG、JPEG 或 GIF 图片,最大 4 MB。"),
});

const burst = new Burst({
  say: (line) => gateway.say({ ...line, group: group.groupId, mention_bot: $("mention").checked }),
  speakers: () => speakers,
  onFailed: () => trouble("order", false),
});

const upstream = new Upstream(dify, {
  onChange: (isReal) => {
    burst.forbid(isReal);
    $("real").hidden = !isReal;
  },
});

const ALARMS = [
  ["gateway", "连接断开,重连中…"],
  ["bridge", "桥没有响应,重试中…"],
  ["order", "模拟器没有接受,请再试一次。"],
];

const entries = new Map(); // newMsgId of a question -> what is known of it
const answers = new Map(); // newMsgId of a bot's bubble -> newMsgId of its question
const missing = new Set();
let chosen = null;
let quoted = null;

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
  Promise.all([troubles.refresh(), upstream.refresh()]).catch(() => trouble("order", false));
  if (!isNew) return;
  group = world.groups[0];
  chat.clear();
  ways.clear();
  burst.reset();
  entries.clear();
  answers.clear();
  chosen = null;
  forgetWay();
  chat.meet(group.members);
  mentions.meet(group.members);
  quote(null);
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
  return make("label", "chip", input, face(person), make("span", "", person.nickName));
}

function face(person) {
  const shown = chat.avatar(person.wcId);
  if (!person.bot) shown.textContent = initial(person);
  return shown;
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
  const shown = event.kind === "recall" ? { ...event, text: "撤回了一条消息" } : event;
  entries.set(event.newMsgId, { event: shown, way: null, label: "投递中", tone: "busy", explanation: "网关正在把这条消息作为回调发给桥。" });
  const isRecent = Date.now() - event.at_ms < 60000 || entries.size <= MOST_FOLLOWED_AT_START;
  if (isRecent) ways.follow(event.newMsgId);
  if (event.kind === "recall") takenBack(event.recalled);
  if (!burst.take(event)) select(event.recalled ?? event.newMsgId);
}

// What the bridge makes of it shows at the message itself.
function takenBack(newMsgId) {
  chat.recall(newMsgId);
  if (quoted?.newMsgId === newMsgId) quote(null);
  if (entries.has(newMsgId)) ways.follow(newMsgId);
}

function showWay(way) {
  const entry = entries.get(way.new_msg_id);
  if (!entry) return;
  Object.assign(entry, { way, label: way.label, tone: way.tone, explanation: way.explanation });
  burst.see(way);
  for (const { new_msg_id: sent } of way.segments) if (sent) answers.set(sent, way.new_msg_id);
  chat.mark(way.new_msg_id, statusOf(way), way.tone);
  if (way.new_msg_id === chosen) show();
}

function statusOf(way) {
  if (way.tone === "quiet" && way.brief) return `${way.label} · ${way.brief}`;
  return way.state === "done" && way.done.ms !== null ? `${way.label} · ${shortTime(way.done.ms)}` : way.label;
}

function showLost(newMsgId) {
  const entry = entries.get(newMsgId);
  if (!entry) return;
  burst.lose(newMsgId);
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

// What can be done with a bubble, beside it.
function offer(newMsgId, opener) {
  const { event, ...can } = chat.canDo(newMsgId);
  const items = [];
  if (can.quote) items.push(["引用", () => quote(event)]);
  if (can.rate) for (const word of ["赞", "踩"]) items.push([word, () => doQuote([chat.speaker], word, event)]);
  if (can.recall) items.push(["撤回", () => doRecall(event)]);
  items.push(["看它的路", () => select(newMsgId)]);
  menu.box.replaceChildren(...items.map(([label, act]) => {
    const item = make("button", "", label);
    item.type = "button";
    item.setAttribute("role", "menuitem");
    item.addEventListener("click", () => {
      menu.close();
      act();
    });
    return item;
  }));
  menu.open(opener);
}

function quote(event) {
  quoted = event;
  $("quoting").hidden = event === null;
  $("quoted").textContent = event === null ? "" : `${event.nickname}:${event.kind === "image" ? "[图片]" : event.text}`;
  if (event !== null) $("text").focus();
}

function doQuote(people, text, event) {
  const how = { text, newMsgId: event.newMsgId, mentions: mentions.namedIn(text) };
  return order(() => Promise.all(people.map((person) => gateway.act({ act: "quote", group: group.groupId, person, how }))));
}

function doRecall({ wcId, newMsgId }) {
  return order(() => gateway.act({ act: "recall", group: group.groupId, person: wcId, how: { newMsgId } }));
}

function doSay(people, text) {
  const line = { group: group.groupId, text, mention_bot: $("mention").checked, mentions: mentions.namedIn(text) };
  return order(() => Promise.all(people.map((person) => gateway.say({ ...line, person }))));
}

// Whether the gateway took it; the page tells when it did not.
async function order(act) {
  try {
    await act();
    trouble("order", true);
    return true;
  } catch {
    trouble("order", false);
    return false;
  }
}

async function say(people) {
  const box = $("text");
  const text = box.value.trim();
  if (!text || !group) return;
  box.value = "";
  const about = quoted;
  quote(null);
  mentions.close();
  fit();
  const isTaken = await (about ? doQuote(people, called(text), about) : doSay(people, troubles.decorate(text)));
  if (!isTaken) {
    box.value = text;
    quote(about);
  }
  box.focus();
}

// A quotation names the bot as a line does.
function called(text) {
  const bot = group.members.find((member) => member.bot);
  const name = `@${bot?.shownName}${MENTION_END}`;
  return $("mention").checked && bot && !text.includes(name) ? name + text : text;
}

function tell(text) {
  const notice = $("notice");
  notice.textContent = text;
  notice.hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { notice.hidden = true; }, NOTICE_MS);
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
  if (mentions.take(event)) {
    event.preventDefault();
    return;
  }
  // While an input method composes, Enter belongs to it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  say([chat.speaker]);
});
$("together").addEventListener("click", () => say(speakers.map((person) => person.wcId)));
$("unquote").addEventListener("click", () => quote(null));
$("mention").checked = document.body.dataset.mention === "yes";

gateway.listen({ onWorld: enter, onEvent: hear, onCut: () => trouble("gateway", false) });
fit();

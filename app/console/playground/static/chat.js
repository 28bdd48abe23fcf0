// The group on the phone: bubbles, in the order in which the gateway saw them.

import { $, make, withOrders } from "./dom.js";

const COLOURS = 5;
const NEAR_PX = 80;
const HOLD_MS = 450;
const MOST_ROWS = 500;

export function initial(person) {
  const name = person.nickName || person.shownName;
  return Array.from(name.replace(/[(\uff08].*$/, "")).pop() || "?";
}

export class Chat {
  constructor({ gateway, onSelect, onMenu }) {
    this.box = $("chat");
    this.bubbles = new Map();
    this.people = new Map();
    this.speaker = null;
    this.gateway = gateway;
    this.events = { onSelect, onMenu };
  }

  meet(members) {
    this.people = new Map(members.map((member, index) => [member.wcId, { ...member, index }]));
  }

  avatar(wcId) {
    const person = this.people.get(wcId);
    if (person?.bot) {
      const robot = make("img", "avatar");
      robot.src = "static/icon.svg";
      robot.alt = "";
      return robot;
    }
    const face = make("span", `avatar colour-${(person?.index ?? 0) % COLOURS}`, person ? initial(person) : "?");
    face.setAttribute("aria-hidden", "true");
    return face;
  }

  clear() {
    for (const { row } of this.bubbles.values()) row.remove();
    this.bubbles.clear();
    $("silence").hidden = false;
  }

  add(event) {
    if (this.bubbles.has(event.newMsgId)) return false;
    const status = make("span", "status");
    const row = event.kind === "recall" ? this.#note(event, status) : this.#row(event, status);
    this.bubbles.set(event.newMsgId, { row, status, event });
    this.#place(row);
    $("silence").hidden = true;
    this.#keepingEnd(() => this.box.append(row), event.wcId === this.speaker);
    if (this.bubbles.size > MOST_ROWS) this.#forgetFirst();
    return true;
  }

  recall(newMsgId) {
    this.bubbles.get(newMsgId)?.row.classList.add("recalled");
  }

  // What may be done with a bubble, by whoever holds the phone.
  canDo(newMsgId) {
    const { row, event } = this.bubbles.get(newMsgId);
    const isTaken = row.classList.contains("recalled");
    const isBot = row.classList.contains("bot");
    return { event, quote: !isTaken, rate: isBot && !isTaken, recall: event.wcId === this.speaker && !isTaken };
  }

  mark(newMsgId, text, tone) {
    const bubble = this.bubbles.get(newMsgId);
    if (!bubble || bubble.status.textContent === text) return;
    this.#keepingEnd(() => {
      bubble.status.textContent = text;
      bubble.status.dataset.tone = tone;
    });
  }

  // The chosen message and its answers.
  choose(newMsgIds) {
    for (const [id, { row }] of this.bubbles) row.classList.toggle("chosen", newMsgIds.has(id));
  }

  // Whose phone it is: their bubbles stand on the right.
  hold(wcId) {
    this.speaker = wcId;
    for (const { row } of this.bubbles.values()) this.#place(row);
  }

  #row(event, status) {
    const isBot = this.people.get(event.wcId)?.bot ?? false;
    const bubble = make("button", "bubble", ...this.#content(event, isBot));
    bubble.type = "button";
    bubble.title = "查看这条消息的路";
    const more = make("button", "more", "⋯");
    more.type = "button";
    more.setAttribute("aria-label", "引用、撤回…");
    more.setAttribute("aria-haspopup", "menu");
    more.addEventListener("click", () => this.events.onMenu(event.newMsgId, more));
    this.#listen(bubble, event.newMsgId, more);
    const row = make("div", `row ${isBot ? "bot" : "member"}`, this.avatar(event.wcId),
      make("div", "said", make("span", "name", event.nickname), make("div", "beside", bubble, more), status));
    row.dataset.person = event.wcId;
    return row;
  }

  #content(event, isBot) {
    if (event.kind === "image" && event.type === "said") {
      const picture = make("img", "picture");
      picture.addEventListener("load", () => this.#keepingEnd(() => {}, event.wcId === this.speaker));
      picture.src = `${this.gateway}/media/${event.msgId}`;
      picture.alt = "图片";
      return [picture];
    }
    const text = make("span", "text", ...(isBot ? [event.text] : withOrders(event.text)));
    if (!event.quoted) return [text];
    const quoted = make("span", "quoted", `${event.quoted.nickname}:${event.quoted.text}`);
    return [text, quoted];
  }

  #note(event, status) {
    const note = make("button", "note", `${event.nickname} 撤回了一条消息`);
    note.type = "button";
    note.title = "查看这条通知的路";
    note.addEventListener("click", () => this.events.onSelect(event.newMsgId));
    return make("div", "row system", note, status);
  }

  // Click: its way. Right click, the menu key, a long press: what can be done with it.
  #listen(bubble, newMsgId, more) {
    let timer = null;
    let isHeld = false;
    const open = () => {
      isHeld = true;
      this.events.onMenu(newMsgId, more);
    };
    const release = () => clearTimeout(timer);
    bubble.addEventListener("pointerdown", (event) => {
      isHeld = false;
      if (event.pointerType === "touch") timer = setTimeout(open, HOLD_MS);
    });
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) bubble.addEventListener(name, release);
    bubble.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      open();
      isHeld = false;
    });
    bubble.addEventListener("click", () => {
      if (!isHeld) this.events.onSelect(newMsgId);
      isHeld = false;
    });
  }

  #forgetFirst() {
    const [[id, { row }]] = this.bubbles;
    row.remove();
    this.bubbles.delete(id);
  }

  // Whoever reads the newest stays there; whoever scrolled up is left in peace.
  #keepingEnd(change, always = false) {
    const wasAtEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < NEAR_PX;
    change();
    if (wasAtEnd || always) this.box.scrollTop = this.box.scrollHeight;
  }

  #place(row) {
    row.classList.toggle("mine", row.dataset.person === this.speaker);
  }
}

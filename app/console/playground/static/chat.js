// The group on the phone: bubbles, in the order in which the gateway saw them.

import { $, make, withOrders } from "./dom.js";

const COLOURS = 5;
const NEAR_PX = 80;

export function initial(person) {
  const name = person.nickName || person.shownName;
  return Array.from(name.replace(/[（(].*$/, "")).pop() || "?";
}

export class Chat {
  constructor({ onSelect }) {
    this.box = $("chat");
    this.bubbles = new Map();
    this.people = new Map();
    this.speaker = null;
    this.onSelect = onSelect;
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
    const isBot = this.people.get(event.wcId)?.bot ?? false;
    const text = make("span", "text", ...(isBot ? [event.text] : withOrders(event.text)));
    const bubble = make("button", "bubble", text);
    bubble.type = "button";
    bubble.title = "查看这条消息的路";
    bubble.addEventListener("click", () => this.onSelect(event.newMsgId));
    const status = make("span", "status");
    const row = make("div", `row ${isBot ? "bot" : "member"}`, this.avatar(event.wcId),
      make("div", "said", make("span", "name", event.nickname), bubble, status));
    row.dataset.person = event.wcId;
    this.bubbles.set(event.newMsgId, { row, status });
    this.#place(row);
    $("silence").hidden = true;
    this.#keepingEnd(() => this.box.append(row), event.wcId === this.speaker);
    return true;
  }

  recall(newMsgId) {
    this.bubbles.get(newMsgId)?.row.classList.add("recalled");
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

// While "@" is typed: whom it may name. Chosen with the arrows and Enter, or by a touch.

import { $, make } from "./dom.js";

export const MENTION_END = "\u2005";
const TYPING = /@([^@\s\u2005]{0,20})$/;

export class Mentions {
  constructor(box, { faceOf, speaker }) {
    this.box = box;
    this.list = $("mentions");
    this.members = [];
    this.found = [];
    this.place = 0;
    this.faceOf = faceOf;
    this.speaker = speaker;
    box.addEventListener("input", () => this.look());
    box.addEventListener("click", () => this.look());
    box.addEventListener("blur", () => this.close());
  }

  meet(members) {
    this.members = members;
    this.close();
  }

  // Of a line: who is named in it.
  namedIn(text) {
    return this.members.filter((member) => text.includes(`@${member.shownName}${MENTION_END}`)).map((member) => member.wcId);
  }

  look() {
    const typed = TYPING.exec(this.box.value.slice(0, this.box.selectionStart));
    const others = typed ? this.members.filter((member) => member.wcId !== this.speaker()) : [];
    const word = typed?.[1].toLowerCase() ?? "";
    this.found = others.filter((member) => `${member.shownName} ${member.nickName}`.toLowerCase().includes(word));
    this.place = 0;
    this.#show();
  }

  close() {
    this.found = [];
    this.#show();
  }

  // Whether a key was meant for the list.
  take(event) {
    const { length } = this.found;
    if (!length || event.isComposing) return false;
    if (event.key === "ArrowDown") this.place = (this.place + 1) % length;
    else if (event.key === "ArrowUp") this.place = (this.place + length - 1) % length;
    else if (event.key === "Enter" || event.key === "Tab") return this.#choose(this.found[this.place]);
    else if (event.key === "Escape") this.found = [];
    else return false;
    this.#show();
    return true;
  }

  #choose(member) {
    const { box } = this;
    const before = box.value.slice(0, box.selectionStart).replace(TYPING, `@${member.shownName}${MENTION_END}`);
    box.value = before + box.value.slice(box.selectionEnd);
    box.setSelectionRange(before.length, before.length);
    this.close();
    box.dispatchEvent(new Event("input"));
    return true;
  }

  #show() {
    this.list.hidden = this.found.length === 0;
    this.list.replaceChildren(...this.found.map((member, index) => {
      const item = make("li", "", this.faceOf(member), make("span", "", member.shownName));
      item.id = `mention-${index}`;
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", String(index === this.place));
      // The line keeps the focus, so that typing goes on.
      item.addEventListener("pointerdown", (event) => event.preventDefault());
      item.addEventListener("click", () => this.#choose(member));
      return item;
    }));
    if (this.found.length) this.box.setAttribute("aria-activedescendant", `mention-${this.place}`);
    else this.box.removeAttribute("aria-activedescendant");
  }
}

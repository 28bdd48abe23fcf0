// A box above the page: closed by Escape, by a press elsewhere, and by what it holds.

const MARGIN_PX = 8;

export class Popup {
  constructor(box) {
    this.box = box;
    this.opener = null;
    document.addEventListener("pointerdown", (event) => {
      if (!this.box.hidden && !this.box.contains(event.target) && !this.opener?.contains(event.target)) this.close();
    });
    window.addEventListener("resize", () => this.close());
    box.addEventListener("keydown", (event) => this.#onKey(event));
  }

  // Beside its opener, wholly in the window; the first thing in it has the focus.
  open(opener) {
    this.opener = opener;
    const { box } = this;
    box.hidden = false;
    const at = opener.getBoundingClientRect();
    const left = Math.min(at.left, document.documentElement.clientWidth - box.offsetWidth - MARGIN_PX);
    const isBelow = at.bottom + box.offsetHeight + MARGIN_PX < window.innerHeight;
    const top = isBelow ? at.bottom + MARGIN_PX / 2 : at.top - box.offsetHeight - MARGIN_PX / 2;
    box.style.setProperty("left", `${Math.max(MARGIN_PX, left)}px`);
    box.style.setProperty("top", `${Math.max(MARGIN_PX, top)}px`);
    this.#items()[0]?.focus({ preventScroll: true });
  }

  close() {
    if (this.box.hidden) return;
    const hadFocus = this.box.contains(document.activeElement);
    this.box.hidden = true;
    if (hadFocus) this.opener?.focus({ preventScroll: true });
  }

  #items() {
    return [...this.box.querySelectorAll("button, input")];
  }

  #onKey(event) {
    const items = this.#items();
    const place = items.indexOf(document.activeElement);
    const moves = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
    if (event.key === "Escape") this.close();
    else if (event.key === "Tab") this.close();
    else if (event.key in moves) items[(place + moves[event.key] + items.length) % items.length]?.focus();
    else return;
    if (event.key !== "Tab") event.preventDefault();
  }
}

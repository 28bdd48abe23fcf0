// Reads the ways of messages from the bridge, until each of them is settled.

const PERIOD_MS = 300;
const AWAY_PERIOD_MS = 1500;
const MOST = 50;
const LOST_MS = 6000;
const GIVE_UP_MS = 60000;

export class Ways {
  constructor({ onWay, onLost, onBridge }) {
    this.open = new Map();
    this.timer = null;
    this.events = { onWay, onLost, onBridge };
  }

  follow(newMsgId) {
    this.open.set(newMsgId, { since: performance.now(), isKnown: false, isLost: false });
    while (this.open.size > MOST) this.open.delete(this.open.keys().next().value);
    this.#schedule(PERIOD_MS / 3);
  }

  clear() {
    this.open.clear();
    this.events.onBridge(true);
  }

  #schedule(delay) {
    if (this.timer === null && this.open.size) this.timer = setTimeout(() => this.#read(), delay);
  }

  async #read() {
    if (!this.open.size) {
      this.timer = null;
      return;
    }
    let period = PERIOD_MS;
    try {
      const query = new URLSearchParams([...this.open.keys()].map((id) => ["new_msg_id", id]));
      const response = await fetch(`api/messages?${query}`);
      if (!response.ok) throw new Error(`bridge: HTTP ${response.status}`);
      this.#take((await response.json()).messages);
      this.events.onBridge(true);
    } catch {
      this.events.onBridge(false);
      period = AWAY_PERIOD_MS;
    }
    this.timer = null;
    this.#schedule(period);
  }

  #take(ways) {
    for (const way of ways) {
      const entry = this.open.get(way.new_msg_id);
      if (!entry) continue;
      entry.isKnown = true;
      if (way.is_settled) this.open.delete(way.new_msg_id);
      this.events.onWay(way);
    }
    const now = performance.now();
    for (const [id, entry] of this.open) {
      if (entry.isKnown || now - entry.since < LOST_MS) continue;
      if (!entry.isLost) this.events.onLost(id);
      entry.isLost = true;
      if (now - entry.since > GIVE_UP_MS) this.open.delete(id);
    }
  }
}

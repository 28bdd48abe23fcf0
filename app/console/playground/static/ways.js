// Reads the ways of messages from the bridge, until each of them is settled; so many at a time, in turn.

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
      const ids = this.#next();
      const query = new URLSearchParams(ids.map((id) => ["new_msg_id", id]));
      const response = await fetch(`api/messages?${query}`);
      if (!response.ok) throw new Error(`bridge: HTTP ${response.status}`);
      this.#take((await response.json()).messages, ids);
      this.events.onBridge(true);
    } catch {
      this.events.onBridge(false);
      period = AWAY_PERIOD_MS;
    }
    this.timer = null;
    this.#schedule(period);
  }

  // Those that were not asked for longest; they go to the end of the line.
  #next() {
    const ids = [...this.open.keys()].slice(0, MOST);
    for (const id of ids) {
      const entry = this.open.get(id);
      this.open.delete(id);
      this.open.set(id, entry);
    }
    return ids;
  }

  #take(ways, asked) {
    for (const way of ways) {
      const entry = this.open.get(way.new_msg_id);
      if (!entry) continue;
      entry.isKnown = true;
      if (way.is_settled) this.open.delete(way.new_msg_id);
      this.events.onWay(way);
    }
    const now = performance.now();
    for (const id of asked) {
      const entry = this.open.get(id);
      if (!entry || entry.isKnown || now - entry.since < LOST_MS) continue;
      if (!entry.isLost) this.events.onLost(id);
      entry.isLost = true;
      if (now - entry.since > GIVE_UP_MS) this.open.delete(id);
    }
  }
}

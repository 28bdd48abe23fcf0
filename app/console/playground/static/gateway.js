// The simulated gateway as the browser sees it: who is there, speak, listen, make trouble.

const RETRY_MS = 1500;

export class Gateway {
  constructor(base) {
    this.base = base;
    this.stream = null;
    this.login = null;
  }

  world() {
    return this.#ask("/_sim/world");
  }

  faults() {
    return this.#ask("/_sim/faults");
  }

  setFaults(order) {
    return this.#ask("/_sim/faults", order);
  }

  say(order) {
    return this.#ask("/_sim/say", order);
  }

  act(order) {
    return this.#ask("/_sim/act", order);
  }

  account(order) {
    return this.#ask("/_sim/account", order);
  }

  async sendPicture(blob, where) {
    return this.#send(`/_sim/picture?${new URLSearchParams(where)}`, blob, blob.type);
  }

  // Listens for good. onWorld: at each (re)connection, isNew tells a fresh gateway from the same
  // one; onEvent: what was said and sent, from the beginning of the gateway's memory; onCut.
  listen({ onWorld, onEvent, onCut }) {
    const stream = new EventSource(`${this.base}/_sim/events?since=0`);
    this.stream = stream;
    const again = () => {
      if (this.stream !== stream) return;
      stream.close();
      onCut();
      this.stream = null;
      setTimeout(() => this.listen({ onWorld, onEvent, onCut }), RETRY_MS);
    };
    let ready = null;
    stream.onopen = () => {
      ready = this.world().then((world) => {
        const login = world.accounts.map((account) => account.wId).join();
        const isNew = login !== this.login;
        this.login = login;
        onWorld(world, isNew);
      });
      ready.catch(again);
    };
    // Events wait for the world: they name people that must be known.
    stream.onmessage = (message) => ready.then(() => onEvent(JSON.parse(message.data)), () => {});
    stream.onerror = again;
  }

  async #ask(path, order) {
    return this.#send(path, order === undefined ? undefined : JSON.stringify(order), "application/json");
  }

  async #send(path, body, type) {
    const response = await fetch(this.base + path, body === undefined ? {} : {
      method: "POST",
      headers: { "Content-Type": type },
      body,
    });
    if (!response.ok) throw new Error(`gateway: HTTP ${response.status}`);
    return response.json();
  }
}

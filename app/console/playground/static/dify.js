// The simulated Dify as the browser sees it: through the bridge, which alone can reach it.

export class Dify {
  faults() {
    return this.#ask("faults");
  }

  setFaults(order) {
    return this.#ask("faults", order);
  }

  upstream() {
    return this.#ask("upstream");
  }

  setUpstream(order) {
    return this.#ask("upstream", order);
  }

  // Throws what is wrong, in words.
  async #ask(part, order) {
    const response = await fetch(`api/dify/${part}`, order === undefined ? {} : {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(order),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    return answer;
  }
}

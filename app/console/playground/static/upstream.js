// A real Dify in the place of the simulated one. The key leaves this page once, in the body of a
// request to this machine, and is kept nowhere in the browser.

import { $ } from "./dom.js";

const MODES = { chat: "聊天助手", "agent-chat": "Agent", "advanced-chat": "Chatflow" };

export class Upstream {
  constructor(dify, { onChange }) {
    this.dify = dify;
    this.onChange = onChange;
    $("upstream").addEventListener("submit", (event) => {
      event.preventDefault();
      const order = { base_url: $("upstream-url").value, key: $("upstream-key").value };
      this.#set(order, "正在试着连接…");
    });
    $("upstream-off").addEventListener("click", () => this.#set({ on: false }, ""));
  }

  async refresh() {
    this.#show(await this.dify.upstream());
  }

  async #set(order, meanwhile) {
    this.#say(meanwhile, "busy");
    $("upstream-on").disabled = true;
    try {
      const state = await this.dify.setUpstream(order);
      if (!state.refused) $("upstream-key").value = "";
      this.#say(state.refused ?? "", "bad");
      this.#show(state);
    } catch (error) {
      this.#say(error.message, "bad");
    } finally {
      $("upstream-on").disabled = false;
    }
  }

  #say(text, tone) {
    const answer = $("upstream-answer");
    answer.hidden = !text;
    answer.textContent = text;
    answer.dataset.tone = tone;
  }

  #show({ simulated, on, base_url: address, app }) {
    $("upstream-card").hidden = !simulated;
    const state = $("upstream-state");
    state.textContent = on ? "真正的 Dify" : "模拟的 Dify";
    state.dataset.tone = on ? "warn" : "quiet";
    $("upstream").hidden = Boolean(on);
    $("upstream-now").hidden = !on;
    if (on) $("upstream-app").textContent = `正在问「${app.name}」${MODES[app.mode] ? `(${MODES[app.mode]})` : ""},${address}`;
    this.onChange(Boolean(on));
  }
}

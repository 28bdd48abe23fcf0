// Faults of the two simulators, each with a slider: how slow, how often.

import { $, make } from "./dom.js";

const SENDS = ["/send*"];
const SECONDS = { unit: " 秒", isShare: false };
const SHARE = { unit: "%", isShare: true, most: 100, step: 5 };

const DIFY = [
  { name: "latency", label: "慢", most: 20, step: 0.5, ...SECONDS },
  { name: "http_429", label: "忙(429)", ...SHARE },
  { name: "http_500", label: "报错(500)", ...SHARE },
  { name: "cut_midway", label: "写一半断开", ...SHARE },
  { name: "hang", label: "不应答", ...SHARE },
];
const GATEWAY = [
  { name: "slow", label: "发送慢", most: 10, step: 0.5, endpoints: SENDS, ...SECONDS },
  { name: "http_503", label: "拒绝发送", endpoints: SENDS, ...SHARE },
  { name: "drop", label: "丢失回调", ...SHARE },
  { name: "delay", label: "回调迟到", most: 10, step: 0.5, ...SECONDS },
  { name: "duplicate", label: "重复回调", most: 5, step: 1, unit: " 份", isShare: false },
];

export class Sliders {
  constructor({ dify, gateway, onChange, onFailed }) {
    this.peers = [[dify, DIFY, "dify"], [gateway, GATEWAY, "gateway"]].map(([peer, kinds, name]) => ({
      peer,
      name,
      rows: kinds.map((kind) => this.#row(peer, name, kind)),
    }));
    this.events = { onChange, onFailed };
    for (const { name, rows } of this.peers) $(`sliders-${name}`).append(...rows.map(({ row }) => row));
    $("offline").addEventListener("change", (event) => this.#carry(gateway.account({ online: !event.target.checked })));
  }

  // What is on, which may be another tab's doing. Gives how much is on.
  async refresh(accounts) {
    $("offline").checked = accounts.some(({ online }) => !online);
    let count = Number($("offline").checked);
    for (const { peer, name, rows } of this.peers) {
      const { faults, simulated } = await peer.faults();
      $(`sliders-${name}`).hidden = simulated === false;
      for (const { kind, input, show } of rows) {
        const on = (faults ?? []).find((fault) => fault.name === kind.name && fault.times !== 0);
        input.value = on ? (kind.isShare ? Math.round(on.probability * 100) : on.value) : 0;
        count += Number(input.value > 0);
        show();
      }
    }
    return count;
  }

  async clear() {
    for (const { peer, rows } of this.peers) {
      if (rows.some(({ input }) => Number(input.value) > 0)) await peer.setFaults({ clear: rows.map(({ kind }) => kind.name) });
    }
    if ($("offline").checked) await this.peers[1].peer.account({ online: true });
  }

  #row(peer, where, kind) {
    const input = make("input");
    input.type = "range";
    input.id = `${where}-${kind.name}`;
    Object.assign(input, { min: 0, max: kind.most, step: kind.step, value: 0 });
    const label = make("label", "", kind.label);
    label.htmlFor = input.id;
    const output = make("output");
    const row = make("div", "slider", label, input, output);
    const show = () => {
      output.textContent = Number(input.value) ? `${input.value}${kind.unit}` : "关";
      input.setAttribute("aria-valuetext", output.textContent);
      row.classList.toggle("on", Number(input.value) > 0);
    };
    input.addEventListener("input", show);
    input.addEventListener("change", () => this.#carry(peer.setFaults(orderOf(kind, Number(input.value)))));
    show();
    return { kind, input, row, show };
  }

  async #carry(order) {
    try {
      await order;
      this.events.onChange();
    } catch {
      this.events.onFailed();
    }
  }
}

function orderOf({ name, endpoints, isShare }, value) {
  if (!value) return { name, on: false };
  return isShare ? { name, endpoints, probability: value / 100 } : { name, endpoints, value };
}

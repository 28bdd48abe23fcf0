// What can be made to go wrong with one choice. Some ride in the question as orders for the simulated
// Dify, the others are switched at the simulator; the sliders show what is on there.

import { $, make } from "./dom.js";
import { Sliders } from "./sliders.js";

const SENDS = ["/send*"];

export const TROUBLES = [
  { key: "none", label: "一切正常", hint: "模拟的网关和 Dify 都按时回答。" },
  { key: "long", label: "长回答,边写边发", orders: "[[long=800]][[delay=0.12]]", hint: "Dify 慢慢写一篇长回答;写完一段就发一段,不等全文。" },
  { key: "slow", label: "Dify 慢 3 秒", orders: "[[wait=3]]", hint: "首字要等 3 秒。换一个人说话:他不用等。同一个人的下一句会排在后面。" },
  { key: "error", label: "Dify 报错一次(500)", orders: "[[fail=500;times=1]]", hint: "第一次提问失败,过几秒自动重试,群里看不到错误。" },
  { key: "cut", label: "Dify 断流一次", orders: "[[cut=2;times=1]]", hint: "回答写到一半连接断开;还没有发出任何内容,所以会重新提问。" },
  { key: "sending", label: "网关发送慢 2 秒", fault: { name: "slow", value: 2, endpoints: SENDS }, hint: "每次发送都要 2 秒;回答早已安全保存,处理不会停。" },
  { key: "twice", label: "回调重复投递", fault: { name: "duplicate", value: 2 }, hint: "每条消息投递三次;只回答一次。" },
  { key: "lost", label: "回调丢失", fault: { name: "drop" }, hint: "网关没有投递这条消息:桥无从知道,也就没有回答。" },
  { key: "own", label: "自己调的", hint: "下面的滑块决定出什么错、有多常见。选「一切正常」全部恢复。" },
];

export class Troubles {
  constructor(gateway, dify, { onFailed }) {
    this.gateway = gateway;
    this.select = $("fault");
    this.select.append(...TROUBLES.map(({ key, label }) => new Option(label, key)));
    this.select.addEventListener("change", () => this.#switch().catch(onFailed));
    this.sliders = new Sliders({ dify, gateway, onChange: () => this.refresh().catch(onFailed), onFailed });
    this.number = 0;
    this.#explain();
  }

  get current() {
    return TROUBLES.find(({ key }) => key === this.select.value) ?? TROUBLES[0];
  }

  // The number makes every question new to the simulated Dify, which counts tries by question.
  decorate(text) {
    const { orders } = this.current;
    if (!orders) return text;
    this.number += 1;
    return `${text} ${orders}[[no=${Date.now() % 100000}${this.number}]]`;
  }

  // Show what is switched on, which may be another tab's doing.
  async refresh() {
    const [{ faults }, { accounts }] = await Promise.all([this.gateway.faults(), this.gateway.world()]);
    const count = await this.sliders.refresh(accounts);
    const on = TROUBLES.find(({ fault }) => fault && faults.some((one) => isSame(one, fault)));
    if (on && count === 1) this.select.value = on.key;
    else if (count) this.select.value = "own";
    else if (this.current.fault || this.current.key === "own") this.select.value = "none";
    this.#explain();
  }

  async #switch() {
    this.#explain();
    const { key, fault } = this.current;
    const known = TROUBLES.flatMap((trouble) => (trouble.fault ? [trouble.fault.name] : []));
    if (key === "own") return;
    if (key === "none") await this.sliders.clear();
    await this.gateway.setFaults({ clear: known, faults: fault ? [fault] : [] });
    await this.refresh();
  }

  #explain() {
    $("fault-hint").replaceChildren(make("span", "", this.current.hint));
  }
}

function isSame(one, { name, value = 0 }) {
  return one.name === name && one.times !== 0 && one.value === value && one.probability === 1;
}

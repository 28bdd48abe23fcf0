// Many lines at once, by everybody in turn: what became of them, as figures and as a chart that grows.

import { drawChart } from "./chart.js";
import { $, shortTime } from "./dom.js";

const PERIOD_MS = 250;
const AT_ONCE = 4;
const MOST_SAMPLES = 240;
const HINT = "同一个人的消息一条一条地回答,不同的人互不等待。其间可以照常说话,也可以制造麻烦。";
const COSTS = "正在问真正的 Dify,每一条都算用量:先切回模拟的,再连发。";

export class Burst {
  constructor({ say, speakers, onFailed }) {
    this.say = say;
    this.speakers = speakers;
    this.onFailed = onFailed;
    this.number = 0;
    this.reset();
    $("burst-count").addEventListener("input", () => this.#show());
    $("burst").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.left.length) this.left = [];
      else this.#begin(Number($("burst-count").value));
    });
  }

  // A fresh group has nothing of it.
  reset() {
    clearInterval(this.timer);
    this.timer = null;
    this.texts = new Set();
    this.left = [];
    this.ends = new Map(); // newMsgId -> "waiting", "bad", or milliseconds until everything was sent
    this.samples = [];
    this.#show();
  }

  // A real Dify costs money for each line.
  forbid(isForbidden) {
    $("burst-go").disabled = isForbidden;
    if (isForbidden) this.left = [];
    $("burst-hint").textContent = isForbidden ? COSTS : HINT;
  }

  // Whether something that was said is one of these lines.
  take({ newMsgId, text }) {
    if (!this.texts.delete(text)) return false;
    this.ends.set(newMsgId, "waiting");
    return true;
  }

  see({ new_msg_id: id, state, done, is_settled: isSettled }) {
    if (!this.ends.has(id)) return;
    if (state === "done" && done.ms !== null) this.ends.set(id, done.ms);
    else this.ends.set(id, isSettled ? "bad" : "waiting");
  }

  lose(newMsgId) {
    if (this.ends.has(newMsgId)) this.ends.set(newMsgId, "bad");
  }

  #begin(count) {
    this.reset();
    this.number += 1;
    this.began = performance.now();
    const run = Date.now() % 100000;
    const people = this.speakers();
    for (let number = 1; number <= count; number += 1) {
      this.left.push({ person: people[number % people.length].wcId, text: `连发 ${run}:第 ${number} 条,共 ${count} 条` });
    }
    this.timer = setInterval(() => this.#look(), PERIOD_MS);
    for (let caller = 0; caller < AT_ONCE; caller += 1) this.#call();
    this.#look();
  }

  async #call() {
    while (this.left.length) {
      const line = this.left.shift();
      this.texts.add(line.text);
      try {
        await this.say(line);
      } catch {
        this.texts.delete(line.text);
        this.left = [];
        this.onFailed();
      }
    }
  }

  #figures() {
    const ends = [...this.ends.values()];
    const times = ends.filter((end) => typeof end === "number").sort((one, other) => one - other);
    const waiting = ends.filter((end) => end === "waiting").length;
    return { sent: ends.length, answered: times.length, waiting, bad: ends.length - times.length - waiting, times };
  }

  #look() {
    const { sent, answered, waiting } = this.#figures();
    this.samples.push({ at: performance.now() - this.began, sent, answered, waiting });
    // Half of them tell the same of twice the time.
    if (this.samples.length > MOST_SAMPLES) this.samples = this.samples.filter((_, index) => index % 2 === 0);
    const isOver = !this.left.length && !this.texts.size && !waiting;
    if (isOver) {
      clearInterval(this.timer);
      this.timer = null;
    }
    this.#show();
  }

  #show() {
    const { sent, answered, waiting, bad, times } = this.#figures();
    const seconds = this.samples.length ? this.samples.at(-1).at / 1000 : 0;
    const shown = {
      sent, answered, waiting, bad,
      p50: times.length ? shortTime(quantile(times, 0.5)) : "—",
      p95: times.length ? shortTime(quantile(times, 0.95)) : "—",
    };
    for (const [name, value] of Object.entries(shown)) $(`burst-${name}`).textContent = value;
    const state = $("burst-state");
    state.hidden = !this.samples.length;
    state.dataset.tone = this.timer ? "busy" : bad ? "warn" : "good";
    state.textContent = `${this.timer ? "进行中" : "完成"} · ${seconds.toFixed(1)} s`;
    const count = $("burst-count").value;
    $("burst-number").textContent = `${count} 条`;
    $("burst-go").textContent = this.left.length ? "停下" : `发 ${count} 条`;
    $("burst-figures").hidden = !this.samples.length;
    drawChart($("burst-chart"), this.samples);
  }
}

// Of sorted values, the one below which such a share lies.
export function quantile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
}

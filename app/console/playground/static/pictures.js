// Pictures to send: a few that are drawn here, or a file of one's own.

import { $, make } from "./dom.js";
import { Popup } from "./popup.js";

const MOST_BYTES = 4 * 1024 * 1024;
const TYPES = ["image/png", "image/jpeg", "image/gif"];
const WIDTH = 240;
const HEIGHT = 160;

const DRAWN = [
  ["日落", (pen) => {
    const sky = pen.createLinearGradient(0, 0, 0, HEIGHT);
    [[0, "#35478c"], [0.5, "#e0698a"], [0.75, "#ffb35c"]].forEach(([at, colour]) => sky.addColorStop(at, colour));
    paint(pen, sky, 0, 0, WIDTH, HEIGHT);
    disc(pen, "#fff1b8", 120, 104, 26);
    paint(pen, "#243056", 0, 112, WIDTH, 48);
    for (let line = 0; line < 6; line += 1) paint(pen, "#ffd98a66", 120 - 30 + line * 4, 118 + line * 7, 60 - line * 8, 2);
  }],
  ["报表", (pen) => {
    paint(pen, "#ffffff", 0, 0, WIDTH, HEIGHT);
    [36, 58, 46, 84, 70, 102].forEach((height, index) => paint(pen, index === 5 ? "#07a35a" : "#9ec5ef", 26 + index * 33, 138 - height, 22, height));
    paint(pen, "#c7ced6", 20, 138, 204, 2);
    words(pen, "#333b44", "本月销量", 20, 26);
  }],
  ["收据", (pen) => {
    paint(pen, "#dfe5ea", 0, 0, WIDTH, HEIGHT);
    paint(pen, "#fffdf5", 62, 8, 116, 144);
    words(pen, "#333b44", "收 据", 98, 34);
    for (let line = 0; line < 4; line += 1) {
      paint(pen, "#c9c4b4", 76, 50 + line * 16, 52, 4);
      paint(pen, "#8f8a7a", 142, 50 + line * 16, 22, 4);
    }
    words(pen, "#b3261e", "¥128.00", 92, 138);
  }],
];

function paint(pen, colour, ...box) {
  pen.fillStyle = colour;
  pen.fillRect(...box);
}

function disc(pen, colour, x, y, radius) {
  pen.fillStyle = colour;
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
}

function words(pen, colour, text, x, y) {
  pen.fillStyle = colour;
  pen.font = "bold 16px system-ui, sans-serif";
  pen.fillText(text, x, y);
}

export class Pictures {
  constructor({ onPicture, onRefused }) {
    this.popup = new Popup($("pictures"));
    this.onPicture = onPicture;
    $("drawn").append(...DRAWN.map(([name, draw]) => this.#drawn(name, draw)));
    $("picture").addEventListener("click", (event) => this.popup.open(event.currentTarget));
    $("file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      this.popup.close();
      if (!file) return;
      if (TYPES.includes(file.type) && file.size <= MOST_BYTES) onPicture(file);
      else onRefused();
    });
  }

  #drawn(name, draw) {
    const canvas = make("canvas");
    [canvas.width, canvas.height] = [WIDTH, HEIGHT];
    draw(canvas.getContext("2d"));
    const button = make("button", "", canvas, make("span", "", name));
    button.type = "button";
    button.addEventListener("click", () => {
      this.popup.close();
      canvas.toBlob(this.onPicture, "image/png");
    });
    return button;
  }
}

// One event stream per tab: figures of the menu, and that parts of the page have changed.
const RETRY_MS = 3000;

const shell = document.querySelector("[data-events]");
const lost = document.getElementById("lost");

export function listen() {
  if (shell) connect();
}

function connect() {
  const stream = new EventSource(shell.dataset.events);
  stream.addEventListener("open", () => { lost.hidden = true; });
  stream.addEventListener("figures", (event) => {
    show(JSON.parse(event.data));
    refresh();
  });
  stream.addEventListener("error", () => {
    lost.textContent = shell.dataset.lost;
    lost.hidden = false;
    // A server that says no is not asked again by the browser itself.
    stream.close();
    setTimeout(connect, RETRY_MS);
  });
  addEventListener("pagehide", () => stream.close(), { once: true });
}

async function showPauses(paused) {
  const bar = document.getElementById("paused");
  if (!bar || bar.dataset.paused === paused) return;
  const answer = await fetch("/console/pauses/", { headers: { "X-Fragment": "1" } });
  // If not, the next event tries again.
  if (!answer.ok) return;
  bar.innerHTML = await answer.text();
  bar.dataset.paused = paused;
}

function show(figures) {
  showPauses(figures.paused);
  for (const place of document.querySelectorAll("[data-figure]")) {
    const value = figures[place.dataset.figure];
    place.textContent = value > 999 ? "999+" : String(value);
    place.hidden = !value;
  }
}

// Whoever reads a line does not want it to move on.
document.addEventListener("click", (event) => {
  const hold = event.target.closest("[data-hold]");
  const part = hold && document.querySelector("[data-live]");
  if (!part) return;
  const isHeld = part.toggleAttribute("data-held");
  hold.setAttribute("aria-pressed", String(isHeld));
  hold.textContent = isHeld ? hold.dataset.resume : hold.dataset.pause;
});

// Parts that change by themselves are read again, one at a time, and not while somebody uses them.
let isBusy = false;
async function refresh() {
  const part = document.querySelector("[data-live]:not([data-held])");
  if (!part || isBusy || document.hidden || part.contains(document.activeElement)) return;
  isBusy = true;
  try {
    const answer = await fetch(part.dataset.live, { headers: { "X-Fragment": "1" } });
    if (answer.ok && !part.contains(document.activeElement)) part.innerHTML = await answer.text();
  } finally {
    isBusy = false;
  }
}

// What makes the pages live: they work without it, too.
import { openDrawer } from "./drawer.js";
import { listen } from "./events.js";

const side = document.getElementById("side");

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-menu]")) side.classList.toggle("is-open");
  else if (side?.classList.contains("is-open") && !event.target.closest("#side")) side.classList.remove("is-open");
  for (const open of document.querySelectorAll("details.drop[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
  const row = event.target.closest("[data-open]");
  if (row && !event.target.closest("a:not([data-open]), button, input, label, form")) {
    if (event.metaKey || event.ctrlKey) return;
    event.preventDefault();
    openDrawer(row.dataset.open);
  }
});

// Choosing from a list is searching at once; typing waits for Enter or the button.
document.addEventListener("change", (event) => {
  if (event.target.matches("form[data-auto] select")) event.target.form.requestSubmit();
  if (event.target.matches("[data-all]")) {
    for (const box of document.querySelectorAll(`input[name="${event.target.dataset.all}"]`)) box.checked = event.target.checked;
  }
});

// Empty fields stay out of the address.
document.addEventListener("submit", (event) => {
  if (event.target.method === "get") {
    for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
  }
});
addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("form[method=get] :disabled")) field.disabled = false;
});

// What destroys is done only when its name is typed.
document.addEventListener("input", (event) => {
  const wanted = event.target.dataset.confirm;
  if (wanted !== undefined) event.target.form.querySelector("[data-confirmed]").disabled = event.target.value.trim() !== wanted;
});

// A connection is tested with what is typed; nothing that was typed is lost by it.
document.addEventListener("submit", async (event) => {
  const button = event.submitter;
  if (button?.dataset.test === undefined) return;
  event.preventDefault();
  const place = document.getElementById("tested");
  const busy = document.createElement("p");
  busy.className = "checked is-busy";
  busy.textContent = button.dataset.test;
  place.replaceChildren(busy);
  button.disabled = true;
  try {
    const body = new URLSearchParams(new FormData(event.target));
    const answer = await fetch(button.formAction, { method: "POST", body, headers: { "X-Fragment": "1" } });
    place.innerHTML = await answer.text();
  } catch (error) {
    busy.textContent = String(error);
  } finally {
    button.disabled = false;
  }
});

// A replay says how far it is until it is over.
const polled = document.querySelector("[data-poll]");
async function poll() {
  if (!polled.querySelector("[data-running]")) return;
  const answer = await fetch(polled.dataset.poll, { headers: { "X-Fragment": "1" } });
  if (answer.ok && !polled.contains(document.activeElement)) polled.innerHTML = await answer.text();
  setTimeout(poll, 600);
}
if (polled) setTimeout(poll, 600);

listen();

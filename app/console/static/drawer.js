// Details beside the list; they are a page of their own, too.
const drawer = document.getElementById("drawer");

export async function openDrawer(address) {
  const answer = await fetch(address, { headers: { "X-Fragment": "1" } });
  if (answer.status === 401) {
    location.reload();
    return;
  }
  drawer.innerHTML = await answer.text();
  drawer.dataset.address = address;
  if (!drawer.open) drawer.showModal();
  drawer.scrollTop = 0;
}

drawer?.addEventListener("click", (event) => {
  const inner = event.target.closest("[data-drawer]");
  if (inner) {
    event.preventDefault();
    event.stopPropagation();
    openDrawer(inner.dataset.drawer);
  } else if (event.target === drawer || event.target.closest("[data-close]")) drawer.close();
});

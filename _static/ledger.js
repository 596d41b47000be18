// A link to a claim opens its card; on paper all cards are open. (Browsers that style the content
// of a closed card do both without this.)
(() => {
  const open = () => {
    const card = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const more = card?.matches(".claim") && card.querySelector("details");
    if (more) more.open = true;
  };
  let closed = [];
  addEventListener("hashchange", open);
  addEventListener("DOMContentLoaded", open);
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll(".claim details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of closed) one.open = false;
  });
})();

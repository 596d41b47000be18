// The widget manager asks for MathJax 2's queue, which MathJax 3 no longer has (jupyter-widgets/ipywidgets#3829): lend it one.
{
  const lend = (mathjax) => {
    if (mathjax) {
      mathjax.Hub ??= {
        Queue: ([, , element]) => {
          element.classList.add("mathjax_process");  // the only elements in which the book looks for formulas
          return mathjax.startup?.promise?.then(() => mathjax.typesetPromise([element]));
        },
      };
    }
    return mathjax;
  };
  let current = lend(window.MathJax);
  Object.defineProperty(window, "MathJax", {
    configurable: true,
    get: () => current,
    set: (mathjax) => { current = lend(mathjax); },
  });
}

// A widget's image has no alternative text of its own: its tooltip says what it shows, else the heading above it.
new MutationObserver(() => {
  for (const image of document.querySelectorAll("img.widget-image:not([alt])")) {
    const heading = image.closest("section")?.querySelector("h1, h2, h3")?.firstChild.textContent;
    image.alt = image.title || `Interactive figure: ${heading ?? document.title}`;
  }
}).observe(document, { childList: true, subtree: true });

// What a control says aloud is what is written on it.
addEventListener("DOMContentLoaded", () => {
  for (const one of document.querySelectorAll("details > summary[aria-label], button.search-button-field[aria-label]")) one.removeAttribute("aria-label");
});

// A formula in the text that is wider than its line scrolls in itself, as displayed ones do.
addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  const formulas = document.querySelectorAll('.bd-article mjx-container:not([display="true"])');
  const fit = () => {
    for (const one of formulas) one.classList.remove("wide");
    const wide = [...formulas].filter((one) => one.getBoundingClientRect().width > one.closest("p, li, td, dd, div").clientWidth);
    for (const one of wide) one.classList.add("wide");
  };
  fit();
  addEventListener("resize", fit);
});

// What a term, a symbol or a citation means, under the pointer and on focus: one card for the whole page.
addEventListener("DOMContentLoaded", () => {
  const card = document.body.appendChild(document.createElement("div"));
  card.id = "book-card";
  card.className = "mathjax_process";
  card.setAttribute("role", "tooltip");
  card.hidden = true;
  let shownFor = null, leaving = 0;
  const hide = () => {
    card.hidden = true;
    shownFor?.removeAttribute("aria-describedby");
    shownFor = null;
  };
  const show = (element, html) => {
    clearTimeout(leaving);
    if (shownFor === element) return;
    hide();
    shownFor = element;
    card.innerHTML = html;
    card.hidden = false;
    element.setAttribute("aria-describedby", card.id);
    window.MathJax?.startup?.promise?.then(() => MathJax.typesetPromise([card])).then(() => place(element));
    place(element);
  };
  const place = (element) => {
    const at = element.getBoundingClientRect(), own = card.getBoundingClientRect();
    const below = at.bottom + own.height + 8 < innerHeight || at.top < own.height + 8;
    card.style.left = `${Math.max(8, Math.min(at.left, document.documentElement.clientWidth - own.width - 8))}px`;
    card.style.top = `${below ? at.bottom + 6 : at.top - own.height - 6}px`;
  };
  const leave = () => { leaving = setTimeout(hide, 250); };  // time to move onto the card
  const explain = (element, html) => {
    element.addEventListener("mouseenter", () => show(element, html));
    element.addEventListener("focus", () => show(element, html));
    element.addEventListener("mouseleave", leave);
    element.addEventListener("blur", leave);
  };
  card.addEventListener("mouseenter", () => clearTimeout(leaving));
  card.addEventListener("mouseleave", leave);
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
  addEventListener("scroll", () => shownFor && place(shownFor), { passive: true });

  // Citations: the bibliography's entry is their title, which only a mouse would show.
  for (const link of document.querySelectorAll(".bibtex-citation a[title], a.reference[href*='references.html#'][title]")) {
    const words = document.createElement("p");
    words.textContent = link.title;
    link.removeAttribute("title");
    explain(link, words.outerHTML);
  }

  // A role that is no longer one, and the list of such; a table that scrolls in itself is scrolled by keys, too.
  for (const entry of document.querySelectorAll('[role="doc-biblioentry"], .citation-list')) entry.removeAttribute("role");
  const reach = () => {
    for (const table of document.querySelectorAll(".bd-article table"))
      if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
      else table.removeAttribute("tabindex");
  };
  reach();
  addEventListener("resize", reach);

  // The first time that a page uses a term of the glossary, it is a link to it.
  const article = document.querySelector(".bd-article");
  const { terms = [], symbols = {} } = window.bookCards ?? {};
  const glossary = document.querySelector('.bd-links a[href$="glossary.html"]')?.getAttribute("href");
  if (article && glossary && !article.querySelector("dl.glossary")) {
    const skipped = "a, em, h1, h2, h3, h4, code, pre, summary, button, figcaption, mjx-container, .math, .admonition-title, .jupyter-widgets, .tex2jax_ignore code, .book-about, .book-cite, .cell_output, .citation";
    const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT, (node) =>
      !node.parentElement.closest("p, li, td, dd") || node.parentElement.closest(skipped) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
    const nodes = [];
    while (walker.nextNode()) nodes.push(walker.currentNode);
    const escaped = (words) => words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const open = [...terms].sort((one, other) => other.words.length - one.words.length);
    for (let node of nodes) {
      for (let i = 0; i < open.length && node; i++) {
        const { words, anchor, html } = open[i];
        const found = new RegExp(`(?<![\\w-])${escaped(words)}s?(?![\\w-])`, words === words.toLowerCase() ? "i" : "").exec(node.data);
        if (!found) continue;
        const rest = node.splitText(found.index).splitText(found[0].length);
        const link = document.createElement("a");
        link.className = "book-term";
        link.href = `${glossary}#${anchor}`;
        link.textContent = found[0];
        rest.previousSibling.replaceWith(link);
        explain(link, html);
        nodes.push(rest);
        open.splice(i, 1);
        i = -1;
      }
    }
  }

  // Formulas in the text that are one symbol of the notation.
  const plain = (tex) => tex.replace(/\s+/g, "").replace(/\{(\w)\}/g, "$1");
  addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    for (const { math, display, typesetRoot } of window.MathJax?.startup?.document?.math ?? []) {
      const meaning = !display && symbols[plain(math)];
      if (!meaning || !typesetRoot || typesetRoot.closest("a, #book-card")) continue;
      typesetRoot.classList.add("book-symbol");
      explain(typesetRoot, meaning);
    }
  });
});

// Search: from disk a browser fetches no page for an excerpt, so the texts come with searchtexts.js; and each page is listed once.
if (window.bookTexts) {
  const fetched = window.fetch;
  window.fetch = (url, ...rest) => {
    const path = new URL(url, location.href).pathname;
    const name = Object.keys(bookTexts).find((one) => path.endsWith(`/${one}.html`));
    if (!name) return fetched(url, ...rest);
    const main = document.createElement("div");
    main.setAttribute("role", "main");
    main.textContent = bookTexts[name];
    return Promise.resolve(new Response(main.outerHTML));
  };
  new MutationObserver(() => {
    const seen = new Set();
    for (const item of document.querySelectorAll("ul.search > li")) {
      const link = item.querySelector("a");
      const key = `${link.pathname} ${link.textContent.trim().toLowerCase()}`;
      if (!link.textContent.trim() || seen.has(key)) item.remove();
      seen.add(key);
    }
  }).observe(document, { childList: true, subtree: true });
}

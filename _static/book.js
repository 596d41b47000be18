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

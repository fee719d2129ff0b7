// The figures and the lab's stylesheet know JupyterLab's way of saying whether a page is light: the book's theme is said in the same way.
(() => {
  const root = document.documentElement;
  const say = () => {
    root.dataset.jpThemeLight = String(root.dataset.theme !== "dark");
  };
  say();
  new MutationObserver(say).observe(root, { attributeFilter: ["data-theme"] });
})();

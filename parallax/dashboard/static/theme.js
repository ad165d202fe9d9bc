// Before anything is painted: the theme that was chosen, or the one of the system.
(function () {
  var chosen = null;
  try {
    chosen = localStorage.getItem("parallax-theme");
  } catch (_) {}
  var dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme =
    chosen === "light" || chosen === "dark" ? chosen : dark ? "dark" : "light";
})();

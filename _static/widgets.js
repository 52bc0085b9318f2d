// Widgets ask for formulae in their labels the way MathJax 2 was asked. The book has MathJax 3, so without
// this answer each label of a widget would raise an error on a page with formulae.
document.addEventListener("DOMContentLoaded", () => {
  if (window.MathJax && !window.MathJax.Hub)
    window.MathJax.Hub = {
      Queue: ([, , element]) =>
        window.MathJax.startup.promise.then(() => window.MathJax.typesetPromise([element])),
    };
});

// Gradio has no option for live regions, and draws the parts of a page as they are needed.
(() => {
  const announce = () => {
    for (const part of document.querySelectorAll(".block.live:not([aria-live])")) {
      part.setAttribute("role", "region");
      part.setAttribute("aria-live", "polite");
      part.setAttribute("aria-label", part.dataset.label || "Results");
    }
  };
  new MutationObserver(announce).observe(document, { childList: true, subtree: true });
})();

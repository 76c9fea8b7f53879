// What Gradio has no option for: live regions, and names for a screen reader. It draws the parts of
// a page as they are needed, so this looks again after every change.
(() => {
  const announce = () => {
    for (const part of document.querySelectorAll(".block.live:not([aria-live])")) {
      part.setAttribute("role", "region");
      part.setAttribute("aria-live", "polite");
      part.setAttribute("aria-label", part.dataset.label || "Results");
    }
    // Gradio's own region says a key of its dictionary, "common.complete", after every event.
    for (const part of document.querySelectorAll(".sr-only[role=status]:not([aria-hidden])")) {
      part.setAttribute("aria-hidden", "true");
    }
  };
  const name = () => {
    for (const group of document.querySelectorAll("fieldset.block:not([aria-label])")) {
      const label = group.querySelector("[data-testid=block-info]");
      if (label) group.setAttribute("aria-label", label.textContent.trim());
    }
    for (const icon of document.querySelectorAll("button > img.button-icon:not([alt=''])")) {
      icon.alt = ""; // the words of the button stand beside it
    }
    for (const gallery of document.querySelectorAll(".grid-container")) {
      gallery.querySelectorAll(".delete-button").forEach((button, place) => {
        const words = `Delete image ${place + 1}`;
        if (button.ariaLabel !== words) button.ariaLabel = words;
      });
    }
    // Two places for an image stand on one tab: their buttons say which one they are of.
    for (const label of document.querySelectorAll(".block > [data-testid=block-label]")) {
      const of = `: ${label.textContent.trim()}`;
      for (const button of label.parentElement.querySelectorAll("button[aria-label]")) {
        const is_own = !button.matches(".gallery-item button") && !button.ariaLabel.endsWith(of);
        if (is_own) button.ariaLabel += of;
      }
    }
  };
  const look = () => {
    announce();
    name();
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true });
})();

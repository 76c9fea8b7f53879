() => {
  // Installed once, when the page has loaded. Answers name the ticket of the question that was on
  // the page, so that a second press cannot answer the next question.
  const one = (selector) => document.querySelector(selector);
  const question = () => one("#va-question");
  const fields = () => [...document.querySelectorAll("#va-question fieldset.va-field")];
  const value = (field) => field.querySelector("input:checked")?.value;

  const mark = () => {
    const all = fields();
    const next = all.find((field) => !value(field));
    for (const field of all) field.classList.toggle("va-next", field === next);
  };

  const rows = () => {
    const figures = [...document.querySelectorAll("#va-question figure.va-candidate")];
    return figures.map((figure) =>
      [...figure.querySelectorAll("fieldset.va-field")].map((field) => Number(value(field) ?? 0)));
  };

  window.visrewardSent = (given) =>
    JSON.stringify({ ticket: question()?.dataset.ticket ?? "", rows: given ?? rows() });

  // An answer that is not whole is not sent: the next question would take its place.
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#va-send")) return;
    const field = fields().find((each) => !value(each));
    if (!field) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    const text = document.createElement("p");
    text.className = "va-message";
    text.textContent = `Not sent: ${field.querySelector("legend").textContent} is missing.`;
    one("#va-message .va-message")?.replaceWith(text);
    field.querySelector("input").focus();
  }, true);

  const press = (id) => {
    const button = one(`#${id}`);
    if (button && !button.disabled) button.click();
    return Boolean(button);
  };

  const fill = (digit) => {
    const field = fields().find((each) => !value(each));
    const input = field?.querySelector(`input[value="${digit}"]`);
    if (!input) return false;
    input.checked = true;
    mark();
    return true;
  };

  const clear = () => {
    const field = fields().reverse().find((each) => value(each));
    if (!field) return false;
    field.querySelector("input:checked").checked = false;
    mark();
    return true;
  };

  const act = (key) => {
    const kind = question()?.dataset.kind;
    if (key === "s") return press("va-skip");
    if (key === "u") return press("va-undo");
    if (kind === "pair") {
      const buttons = { 1: "va-first", arrowleft: "va-first", 2: "va-second",
        arrowright: "va-second", 0: "va-tie" };
      return key in buttons && press(buttons[key]);
    }
    if (key === "enter") return press("va-send");
    if (key === "backspace") return clear();
    return /^[1-9]$/.test(key) && fill(key);
  };

  const isTyping = (target) =>
    target.closest("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (one("dialog[open]") || isTyping(event.target) || one("#va-keys")?.checked === false) return;
    // Enter on a button presses that button.
    if (event.key === "Enter" && event.target.closest("button, summary, a")) return;
    if (act(event.key.toLowerCase())) event.preventDefault();
  });

  document.addEventListener("change", (event) => {
    if (event.target.closest("#va-question")) mark();
  });

  const dialog = document.createElement("dialog");
  dialog.className = "va-dialog";
  dialog.setAttribute("aria-label", "Enlarged image");
  document.body.append(dialog);
  dialog.addEventListener("click", () => dialog.close());

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".va-enlarge");
    if (!button) return;
    const close = document.createElement("button");
    close.textContent = "Close";
    dialog.replaceChildren(button.querySelector("img").cloneNode(), close);
    dialog.showModal();
  });

  // What happened is spoken. The parts of the page come and go, so all of it is watched.
  new MutationObserver(() => {
    one("#va-message:not([role])")?.setAttribute("role", "status");
    mark();
  }).observe(document.body, { childList: true, subtree: true });
  mark();
}

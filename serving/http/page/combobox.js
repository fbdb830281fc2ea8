// An input with a list of suggestions, by the ARIA pattern: arrows move, Enter takes, Escape closes.

export function combobox(input, list, suggest, take) {
  let options = [];
  let active = -1;
  let latest = 0;

  async function update() {
    const number = ++latest;
    const suggested = await suggest(input.value.trim()).catch(() => []);
    if (number !== latest || document.activeElement !== input) return;
    options = suggested;
    active = -1;
    list.replaceChildren(...options.map((option, index) => {
      const row = document.createElement("li");
      row.id = `${list.id}-${index}`;
      row.role = "option";
      row.textContent = option.label;
      row.title = option.label;
      row.addEventListener("pointerdown", (event) => { event.preventDefault(); choose(index); });
      return row;
    }));
    if (!options.length && input.value) {
      const nothing = document.createElement("li");
      nothing.className = "quiet";
      nothing.textContent = "Nothing matches";
      list.append(nothing);
    }
    show(list.childElementCount > 0);
  }

  function show(open) {
    list.hidden = !open;
    input.setAttribute("aria-expanded", String(open));
    if (!open) input.removeAttribute("aria-activedescendant");
  }

  function move(step) {
    if (list.hidden) { update(); return; }
    if (!options.length) return;
    list.children[active]?.removeAttribute("aria-selected");
    active = (active + step + options.length) % options.length;
    const row = list.children[active];
    row.setAttribute("aria-selected", "true");
    row.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", row.id);
  }

  function choose(index) {
    show(false);
    latest++;
    take(options[index]);
  }

  input.addEventListener("input", update);
  input.addEventListener("focus", update);
  input.addEventListener("blur", () => { latest++; show(false); });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") { move(1); event.preventDefault(); }
    else if (event.key === "ArrowUp") { move(-1); event.preventDefault(); }
    else if (event.key === "Escape") show(false);
    else if (event.key === "Enter" && !list.hidden && options.length) { choose(Math.max(active, 0)); event.preventDefault(); }
  });
}

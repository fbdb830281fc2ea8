// Items as lists. Text from data is only ever set as text.

export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export const nameOf = (item) => item.title || String(item.item_id);

function button(text, label, act) {
  const made = element("button", "plain", text);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function head(item) {
  const title = element("span", "title", nameOf(item));
  title.title = nameOf(item);
  title.dir = "auto";
  const row = element("div", "head");
  row.append(title);
  if (item.title) row.append(element("span", "id", String(item.item_id)));
  return row;
}

export function showHistory(list, items, remove) {
  list.replaceChildren(...items.map((item, index) => {
    const row = element("li");
    const top = head(item);
    if (remove) top.append(button("Remove", `Remove ${nameOf(item)}`, () => remove(index)));
    row.append(top);
    return row;
  }));
  if (!items.length) list.replaceChildren(element("li", "empty", remove ? "Add an item to begin." : "Nothing yet."));
}

export function showAnswers(list, items, { columns = [], similar, seen = new Map() } = {}) {
  const top = Math.max(...items.map((item) => Math.abs(item.score)), 1e-9);
  list.replaceChildren(...items.map((item, index) => {
    const row = element("li");
    const first = head(item);
    first.prepend(element("span", "rank", String(index + 1)));
    const before = seen.get(String(item.item_id));
    if (seen.size && before === undefined) first.append(element("span", "badge", "new"));
    if (before !== undefined && before !== index) {
      const moved = element("span", "badge", `${before > index ? "↑" : "↓"}${Math.abs(before - index)}`);
      moved.setAttribute("aria-label", `${before > index ? "up" : "down"} ${Math.abs(before - index)}`);
      first.append(moved);
    }
    const score = element("span", "score", item.score.toFixed(3));
    const bar = element("span", "bar");
    bar.style.setProperty("--share", Math.max(0, item.score) / top);
    const facts = element("div", "facts");
    for (const column of columns) {
      const value = item[column];
      if (value === null || value === undefined || value === "" || column === "title") continue;
      const shown = Array.isArray(value) ? value.join(", ") : String(value);
      if (!shown) continue;
      const fact = element("span", "fact", shown.length > 80 ? `${shown.slice(0, 80)}…` : shown);
      fact.title = `${column}: ${shown.slice(0, 400)}`;
      facts.append(fact);
    }
    const why = element("p", "why quiet");
    why.dataset.item = String(item.item_id);
    const end = element("div", "end");
    end.append(bar, score);
    if (similar) end.append(button("Similar", `Items similar to ${nameOf(item)}`, () => similar(item)));
    row.append(first, facts, why, end);
    return row;
  }));
}

export function showReasons(list, items, reasons) {
  list.querySelectorAll(".why").forEach((row, index) => {
    const why = reasons[index] ?? [];
    if (items[index] === undefined || String(items[index].item_id) !== row.dataset.item || !why.length) return;
    row.textContent = `Because of ${why.map(nameOf).join(" and ")}`;
  });
}

// The page: what is asked (state), the service's answer, and what both look like.

import { ask } from "./api.js";
import { combobox } from "./combobox.js";
import { element, nameOf, showAnswers, showHistory, showReasons } from "./lists.js";
import { ItemMap } from "./map.js";

const $ = (id) => document.getElementById(id);
const K = 12;
const OPERATORS = {
  number: [[">=", "at least"], ["<=", "at most"], ["==", "is"]],
  text: [["==", "is"], ["!=", "is not"]],
  list: [["contains", "contains"]],
};
const state = { by: "user", user: null, history: [], words: "", filters: [] };
const map = new ItemMap($("map"), $("tip"));
let about = null;
let request = null;

async function start() {
  try {
    about = await ask("/page/about");
  } catch (error) {
    $("model").textContent = error.message;
    return;
  }
  const version = about.version === null ? "a bundle folder" : `version ${about.version}`;
  $("model").textContent = `${about.source.replace("models:/", "")} · ${version} · ${about.items.toLocaleString("en")} items`
    + `${about.users ? ` · ${about.users.toLocaleString("en")} known users` : ""} · bundle ${about.bundle_id.slice(0, 12)}`
    + `${about.baseline ? ` · the ${about.baseline} baseline` : ""}`;
  $("compare-row").hidden = about.previous === null;
  $("compare-name").textContent = `version ${about.previous}, which served before`;
  for (const column of about.columns) if (column.name !== about.title) $("per-column").append(new Option(column.name, column.name));
  $("per-column").closest(".per").hidden = !$("per-column").childElementCount;
  $("add-filter").hidden = !about.columns.length;
  if (!about.has_text) {
    $("words").disabled = true;
    $("words-hint").textContent = "This model reads no text, so it cannot search by words.";
  }
  ask("/page/map").then((drawn) => map.load(drawn)).catch((error) => {
    document.querySelector(".canvas").hidden = true;
    document.querySelector(".legend").hidden = true;
    $("map-note").textContent = error.message;
    $("map-note").hidden = false;
  });
  const named = new URLSearchParams(location.hash.slice(1)).get("user");
  const users = about.users ? await ask("/page/users") : [];
  if (named !== null || users.length) chooseUser(named ?? users[0]);
  else selectTab("history");
}

// What is asked

function question() {
  const titles = about.title === null ? [] : [about.title];
  const others = about.columns.map((column) => column.name).filter((name) => name !== about.title);
  const asked = { k: K, exclude_seen: !$("seen").checked, columns: [...titles, ...others].slice(0, 20) };
  if (state.by === "user") asked.user_id = state.user;
  else asked.history = [...state.history].map((item) => item.item_id);
  const where = state.filters.filter((filter) => filter.value !== "").map(({ column, operator, value }) => [
    column.name, operator, column.kind === "number" ? Number(value) : value,
  ]);
  if (where.length) asked.where = where;
  const count = Number($("per-count").value);
  if (count >= 1) asked.per = { [$("per-column").value]: count };
  const diversity = Number($("diversity").value);
  if (diversity > 0) asked.diversity = diversity;
  return asked;
}

async function answer() {
  request?.abort();
  request = new AbortController();
  const { signal } = request;
  const list = $("recommendations");
  list.setAttribute("aria-busy", "true");
  try {
    if (state.by === "text") await answerWords(list, signal);
    else await answerUser(list, signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    list.replaceChildren();
    note(error.message, true);
    $("status").textContent = error.message;
  }
  list.setAttribute("aria-busy", "false");
}

async function answerWords(list, signal) {
  $("before").hidden = true;
  if (!state.words) { list.replaceChildren(element("li", "empty", "Type some words to begin.")); note(null); return; }
  const { items, reason } = await ask("/page/search", { text: state.words, k: K }, signal);
  showAnswers(list, items, { similar });
  note(reason);
  map.mark([], items);
  $("status").textContent = `${items.length} items for ${state.words}`;
}

async function answerUser(list, signal) {
  if (state.by === "user") {
    state.history = await ask(`/page/history?user_id=${encodeURIComponent(state.user)}`, undefined, signal);
  }
  showHistory($("history"), state.by === "user" ? state.history : [...state.history].reverse(), state.by === "history" ? remove : null);
  if (state.by === "history" && !state.history.length) {
    list.replaceChildren(element("li", "empty", "Add items to the history to see what follows from them."));
    $("before").hidden = true;
    note(null);
    map.mark([], []);
    return;
  }
  const asked = question();
  const compared = $("compare").checked && about.previous !== null;
  const [now, before] = await Promise.all([
    ask("/v1/recommend", asked, signal), compared ? ask("/page/previous", asked, signal) : null,
  ]);
  const ranks = new Map((before?.items ?? []).map((item, index) => [String(item.item_id), index]));
  if (about.title !== null) for (const item of now.items) item.title = item[about.title];
  showAnswers(list, now.items, { columns: asked.columns.filter((name) => name !== about.title), similar, seen: ranks });
  $("before").hidden = before === null;
  if (before !== null) {
    $("before-title").textContent = `Version ${before.version}, which served before`;
    showAnswers($("previous"), before.items);
  }
  note(now.reason);
  map.mark(state.history, now.items);
  $("status").textContent = `${now.items.length} recommendations`;
  if (now.degraded || !now.items.length) return;
  const who = state.by === "user" ? { user_id: asked.user_id } : { history: asked.history };
  const reasons = await ask("/page/reasons", { ...who, item_ids: now.items.map((item) => item.item_id) }, signal).catch(() => []);
  showReasons(list, now.items, reasons);
}

function note(text, isError = false) {
  $("note").hidden = !text;
  $("note").classList.toggle("error", isError);
  $("note").textContent = text ? text[0].toUpperCase() + text.slice(1) : "";
}

function chooseUser(user) {
  state.user = user;
  $("user").value = user;
  history.replaceState(null, "", `#user=${encodeURIComponent(user)}`);
  answer();
}

function remove(index) {
  state.history.splice(state.history.length - 1 - index, 1);
  answer();
}

async function similar(item) {
  $("similar-title").textContent = `Similar to ${nameOf(item)}`;
  $("similar-items").replaceChildren(element("li", "empty", "Looking …"));
  $("similar").showModal();
  try {
    const { items } = await ask(`/page/similar?item_id=${encodeURIComponent(item.item_id)}`);
    showAnswers($("similar-items"), items);
  } catch (error) {
    $("similar-items").replaceChildren(element("li", "empty", error.message));
  }
}

// Controls

function selectTab(name) {
  for (const tab of ["user", "history", "text"]) {
    $(`tab-${tab}`).setAttribute("aria-selected", String(tab === name));
    $(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
    $(`panel-${tab}`).hidden = tab !== name;
  }
  document.querySelector("main").dataset.by = name;
  $("options").disabled = name === "text";
  if (name === "history" && state.by === "user") state.history = [];
  state.by = name;
  if (name !== "user" || state.user !== null) answer();
}

for (const tab of ["user", "history", "text"]) $(`tab-${tab}`).addEventListener("click", () => selectTab(tab));
document.querySelector(".tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const tabs = ["user", "history", "text"];
  const next = tabs[(tabs.indexOf(state.by) + step + 3) % 3];
  selectTab(next);
  $(`tab-${next}`).focus();
});

combobox($("user"), $("user-list"),
  async (text) => (await ask(`/page/users?text=${encodeURIComponent(text === String(state.user) ? "" : text)}`)).map((id) => ({ id, label: String(id) })),
  (option) => chooseUser(option.id));
combobox($("item"), $("item-list"),
  async (text) => (text ? (await ask(`/page/items?text=${encodeURIComponent(text)}`)).map((item) => ({ item, label: nameOf(item) })) : []),
  ({ item }) => { state.history.push(item); $("item").value = ""; answer(); });

function addFilter() {
  const filter = { column: about.columns.find((one) => one.name !== about.title) ?? about.columns[0], operator: "", value: "" };
  const row = element("div", "filter");
  const column = element("select");
  const operator = element("select");
  let value = element("input");
  column.setAttribute("aria-label", "Column");
  operator.setAttribute("aria-label", "Condition");
  for (const one of about.columns) column.append(new Option(one.name, one.name, false, one === filter.column));
  const drop = element("button", "plain", "×");
  drop.type = "button";
  drop.setAttribute("aria-label", "Remove this filter");
  drop.addEventListener("click", () => { state.filters.splice(state.filters.indexOf(filter), 1); row.remove(); answer(); });
  const reset = () => {
    filter.column = about.columns.find((one) => one.name === column.value);
    operator.replaceChildren(...OPERATORS[filter.column.kind].map(([sign, words]) => new Option(words, sign)));
    filter.operator = operator.value;
    const made = element(filter.column.values.length ? "select" : "input");
    if (filter.column.values.length) made.append(new Option("any", ""), ...filter.column.values.map((one) => new Option(one, one)));
    else if (filter.column.kind === "number") { made.type = "number"; made.step = "any"; }
    made.setAttribute("aria-label", "Value");
    made.addEventListener("change", () => { filter.value = made.value; answer(); });
    value.replaceWith(made);
    value = made;
    filter.value = "";
  };
  column.addEventListener("change", () => { const was = filter.value; reset(); if (was !== "") answer(); });
  operator.addEventListener("change", () => { filter.operator = operator.value; if (filter.value !== "") answer(); });
  row.append(column, operator, value, drop);
  reset();
  state.filters.push(filter);
  $("filters").append(row);
  column.focus();
}

$("add-filter").addEventListener("click", addFilter);
$("words").addEventListener("change", () => { state.words = $("words").value.trim(); answer(); });
$("diversity").addEventListener("input", () => { $("diversity-value").textContent = Number($("diversity").value) || "off"; });
for (const id of ["diversity", "per-count", "per-column", "seen", "compare"]) $(id).addEventListener("change", answer);

start();

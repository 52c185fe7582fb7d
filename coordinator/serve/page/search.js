"use strict";
// The whole state of a search is `parts`, the options and the filters; the address carries it (pictures that
// were dropped cannot be shared). Everything shown is set as text, never as markup.

const at = id => document.getElementById(id);
let parts = [];      // {text | item | image, label, weight, preview}
let columns = [], hits = [], asked = 0, chosen = null;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function say(words, wrong = false) {
  at("status").textContent = words;
  at("status").classList.toggle("wrong", wrong);
}

const thumbnail = id => `api/v1/thumbnails/${encodeURIComponent(at("index").value)}/${encodeURIComponent(id)}`;

function showParts() {
  at("parts").replaceChildren(...parts.map((part, place) => {
    const name = part.label || part.text || "picture";
    const weight = element("input", {type: "range", min: -2, max: 2, step: 0.1, value: part.weight, ariaLabel: `Weight of ${name}`, title: `weight ${part.weight}`});
    const number = element("span", {textContent: part.weight});
    weight.addEventListener("input", () => { number.textContent = weight.title = weight.value; });
    weight.addEventListener("change", () => { part.weight = Number(weight.value) || 0.1; start(); });
    const gone = element("button", {type: "button", textContent: "×", ariaLabel: `Remove ${name}`});
    gone.addEventListener("click", () => { parts.splice(place, 1); start(); });
    const shown = [element("span", {className: "name", textContent: name, title: name}), weight, number, gone];
    const picture = part.preview || (part.item && thumbnail(part.item));
    if (picture) shown.unshift(element("img", {src: picture, alt: ""}));
    return element("li", {className: part.weight < 0 ? "less" : ""}, ...shown);
  }));
}

function addFilter(given = {}) {
  if (columns.length === 0) return say("This index has no columns to filter by.");
  const column = element("select", {ariaLabel: "Column"}, ...columns.map(name => element("option", {textContent: name})));
  const sign = element("select", {ariaLabel: "Comparison"}, ...[">=", "<=", "=", "!="].map(text => element("option", {textContent: text})));
  const value = element("input", {value: given.value ?? "", ariaLabel: "Value", size: 12});
  column.value = given.column ?? columns[0];
  sign.value = given.sign ?? ">=";
  const gone = element("button", {type: "button", textContent: "×", ariaLabel: "Remove this filter"});
  const line = element("div", {className: "filter"}, column, sign, value, gone);
  gone.addEventListener("click", () => { line.remove(); start(); });
  for (const one of [column, sign, value]) one.addEventListener("change", () => { if (value.value !== "") start(); });
  at("filters").append(line);
}

function filters() {
  return [...at("filters").children].map(line => {
    const [column, sign, value] = [...line.children].map(one => one.value);
    return {column, sign, value};
  }).filter(one => one.value !== "");
}

function condition({column, sign, value}) {
  if (sign === "=") return {column, one_of: [value]};
  if (sign === "!=") return {column, none_of: [value]};
  return {column, [sign === ">=" ? "least" : "most"]: Number(value)};
}

function share() {
  const words = new URLSearchParams();
  for (const part of parts) {
    if (part.text) words.append("text", `${part.weight}:${part.text}`);
    if (part.item) words.append("item", `${part.weight}:${part.item}:${part.label || ""}`);
  }
  for (const one of filters()) words.append("filter", `${one.column}|${one.sign}|${one.value}`);
  words.set("index", at("index").value);
  if (at("k").value !== "40") words.set("k", at("k").value);
  if (at("distinct").checked) words.set("distinct", "1");
  if (at("exact").checked) words.set("exact", "1");
  return `?${words}`;
}

function restore() {
  const words = new URLSearchParams(location.search);
  parts = [];
  for (const [name, value] of words) {
    const colon = value.indexOf(":"), weight = Number(value.slice(0, colon)) || 1, rest = value.slice(colon + 1);
    if (name === "text") parts.push({text: rest, weight});
    if (name === "item") {
      const end = rest.indexOf(":");
      parts.push({item: end < 0 ? rest : rest.slice(0, end), label: end < 0 ? "" : rest.slice(end + 1), weight});
    }
  }
  if (words.has("index")) at("index").value = words.get("index");
  if (at("index").selectedIndex < 0) at("index").selectedIndex = 0;
  choose();
  at("k").value = words.get("k") || 40;
  at("distinct").checked = words.has("distinct");
  at("exact").checked = words.has("exact");
  at("filters").replaceChildren();
  for (const one of words.getAll("filter")) {
    const [column, sign, ...value] = one.split("|");
    addFilter({column, sign, value: value.join("|")});
  }
  if (words.getAll("filter").length > 0) at("more").open = true;
}

async function fetched(path, body) {
  const answer = await fetch(path, body === undefined ? {} : {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
  const json = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(json.detail || `The service answered ${answer.status}.`);
  return json;
}

function query(offset) {
  const body = {index: at("index").value, k: Number(at("k").value) || 40, offset, filter: filters().map(condition), exact: at("exact").checked,
    query: parts.map(part => ({...(part.image ? {image: part.image} : part.item ? {item: part.item} : {text: part.text}),
      weight: part.weight, ...(part.label ? {label: part.label} : {})}))};
  if (at("distinct").checked) body.distinct = 0.95;
  return body;
}

function card(hit) {
  const caption = hit.captions[0] || hit.key;
  const picture = element("img", {src: thumbnail(hit.id), alt: caption, loading: "lazy", decoding: "async"});
  picture.addEventListener("error", () => picture.replaceWith(element("span", {className: "gone", textContent: "picture not found"})));
  const made = element("button", {type: "button", className: "hit"}, picture,
    element("span", {className: "words"}, element("span", {className: "score", textContent: `${hit.rank} · ${hit.score.toFixed(3)} `}), caption));
  made.hit = hit;
  made.addEventListener("click", () => open(hit));
  return made;
}

async function start(keepAddress = false) {
  showParts();
  if (!keepAddress) history.pushState(null, "", share());
  hits = [];
  at("hits").replaceChildren();
  at("next").hidden = true;
  await more();
}

async function more() {
  if (parts.length === 0) return say("What should be searched for?");
  const mine = ++asked, began = performance.now();
  say("Searching…");
  try {
    const answer = await fetched("api/v1/search", query(hits.length));
    if (mine !== asked) return;  // a newer search is on its way
    hits.push(...answer.hits);
    at("hits").append(...answer.hits.map(card));
    const full = answer.hits.length === answer.k && hits.length + answer.k <= 10000;
    at("next").hidden = !full;
    const promise = answer.recall === 1 ? "exact" : answer.recall ? `finds ${(100 * answer.recall).toFixed(1)} % of the ten nearest` : "";
    say(`${hits.length} of ${answer.items.toLocaleString()} pictures in ${Math.round(performance.now() - began)} ms` + (promise && ` (${promise})`) +
      (answer.damaged ? `; not searched, because damaged: ${answer.damaged.join(", ")}` : ""), Boolean(answer.damaged));
    document.title = answer.query;
  } catch (error) {
    if (mine === asked) say(error.message, true);
  }
}

function line(name, value) {
  return [element("dt", {textContent: name}), element("dd", {}, value)];
}

function open(hit) {
  chosen = hit;
  at("detail-picture").src = thumbnail(hit.id);
  at("detail-picture").alt = hit.captions[0] || hit.key;
  const words = element("dl");
  for (const caption of hit.captions) words.append(...line("caption", caption));
  if (/^https?:\/\//.test(hit.url)) words.append(...line("address", element("a", {href: hit.url, textContent: hit.url, rel: "noreferrer noopener", target: "_blank"})));
  words.append(...line("key", hit.key), ...line("score", hit.score.toFixed(4)));
  for (const [name, value] of Object.entries(hit.columns)) words.append(...line(name, String(value)));
  at("detail-words").replaceChildren(words);
  at("detail").showModal();
}

function withItem(hit, weight, alone) {
  if (at("detail").open) at("detail").close();
  const part = {item: hit.id, label: hit.key, weight};
  parts = alone ? [part] : [...parts, part];
  start();
}

function addText(weight) {
  const text = at("text").value.trim();
  if (text) parts.push({text, weight});
  at("text").value = "";
  start();
}

function addPicture(file) {
  if (!file || !file.type.startsWith("image/")) return;
  if (file.size > 10 * 1024 * 1024) return say("A picture has at most 10 MiB.", true);
  const reader = new FileReader();
  reader.addEventListener("load", () => {
    parts.push({image: reader.result.slice(reader.result.indexOf(",") + 1), label: file.name || "pasted picture", weight: 1, preview: reader.result});
    start();
  });
  reader.readAsDataURL(file);
}

function choose() {
  columns = JSON.parse(at("index").selectedOptions[0]?.dataset.columns || "[]");
  at("add-filter").hidden = columns.length === 0;
}

function keys(event) {
  const typing = /INPUT|SELECT|TEXTAREA/.test(event.target.tagName);
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !typing) { event.preventDefault(); return at("text").focus(); }
  if (typing) return;
  const hit = at("detail").open ? chosen : document.activeElement.hit;
  if (hit && event.key === "m") return withItem(hit, 1, true);
  if (hit && event.key === "a") return withItem(hit, 1, false);
  if (hit && event.key === "s") return withItem(hit, -1, false);
  if (at("detail").open || !event.key.startsWith("Arrow")) return;
  const all = [...at("hits").children];
  if (all.length === 0) return;
  const row = all.filter(one => one.offsetTop === all[0].offsetTop).length;
  const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row}[event.key];
  const next = all[Math.min(all.length - 1, Math.max(0, all.indexOf(document.activeElement) + step))];
  event.preventDefault();
  next.focus();
}

async function begin() {
  const {indexes} = await fetched("api/v1/indexes");
  at("index").replaceChildren(...indexes.map(index => {
    const option = element("option", {value: index.name, textContent: `${index.name} (${index.items.toLocaleString()})`});
    option.dataset.columns = JSON.stringify(index.columns);
    return option;
  }));
  at("form").addEventListener("submit", event => { event.preventDefault(); addText(1); });
  at("minus").addEventListener("click", () => addText(-1));
  at("file").addEventListener("change", () => { [...at("file").files].forEach(addPicture); at("file").value = ""; });
  at("align").addEventListener("click", () => { for (const part of parts) if (part.text) part.weight = 2 * Math.sign(part.weight); start(); });
  at("index").addEventListener("change", () => { choose(); at("filters").replaceChildren(); parts = parts.filter(part => !part.item); start(); });
  for (const id of ["k", "distinct", "exact"]) at(id).addEventListener("change", () => start());
  at("add-filter").addEventListener("click", () => addFilter());
  at("next").addEventListener("click", more);
  at("like").addEventListener("click", () => withItem(chosen, 1, true));
  at("add").addEventListener("click", () => withItem(chosen, 1, false));
  at("take").addEventListener("click", () => withItem(chosen, -1, false));
  at("close").addEventListener("click", () => at("detail").close());
  at("detail").addEventListener("click", event => { if (event.target === at("detail")) at("detail").close(); });
  document.addEventListener("keydown", keys);
  document.addEventListener("paste", event => [...(event.clipboardData?.files || [])].forEach(addPicture));
  document.addEventListener("dragover", event => { event.preventDefault(); document.body.classList.add("dropping"); });
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", event => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    [...event.dataTransfer.files].forEach(addPicture);
  });
  addEventListener("popstate", () => { restore(); start(true); });
  restore();
  if (parts.length > 0) return start(true);
  showParts();
  say(`${indexes.map(index => `${index.items.toLocaleString()} pictures in ${index.name}`).join(", ")}.`);
  at("text").focus();
}

begin().catch(error => say(error.message, true));

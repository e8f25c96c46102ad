// One value in its kind: how names, clients, times, tiers and counts look wherever they stand.
import { copy, defanged, exactly, h, iso, link, lookup, minute, moment, number, percent, score, tierSign, visible } from "./base.js"

export const NUMERIC = new Set(["count", "score", "percent", "bar", "sure", "best"])

export const CELLS = {
  text: (value) => h("bdi", {}, visible(value)),
  name: (value) => h("span", { class: "name" }, lookup(value, { title: visible(value) }), defang(value)),
  client: (value) => (value ? link("/clients", { client: value }, value) : "\u2013"),
  time: (value) => moment("time", value, { datetime: iso(value) }),
  ago: (value) => moment("ago", value),
  count: (value) => number(value),
  score: (value) => score(value),
  percent: (value) => percent(value),
  tier: (value) => tierSign(value),
  action: (value, row) => h("span", { class: !value || value === "passthru" ? "plain" : row.enforced ? "enforced" : "would", title: row.enforced || value === "passthru" ? null : "not enforced: the client got the upstream answer" }, visible(value)),
  list: (value) => h("span", { class: `list list-${value}` }, value === "benign" ? "allowlist" : visible(value)),
  sure: (value, row) => h("span", { class: row.uncertain ? "uncertain" : "" }, row.uncertain ? h("span", { title: "uncertain: near the threshold", "aria-label": "uncertain" }, "\u26a0 ") : "", score(value)),
  bar: (value, row, column) => h("span", { class: "barcell" }, h("span", { class: `fill fill-${column.tier || row.tier || "none"}`, style: `width:${Math.max(1, (100 * value) / (column.max || 1))}%` }), h("span", { class: "n" }, number(value))),
  state: (value) => h("span", { class: `state state-${String(value).replace(/[^a-z]/g, "")}` }, visible(value)),
  until: (value) => (value ? moment("until", value) : "for good"),
  link: (value, row, column) => (value ? h("a", { href: row[column.href || "href"] }, h("bdi", {}, visible(value))) : "\u2013"),
  word: (value) => h("bdi", {}, visible(value)),
  best: (value, row, column) => (row.best?.includes(column.key) ? h("strong", { class: "best" }, h("span", { class: "sr" }, "best: "), h("span", { "aria-hidden": "true" }, "\u2605 "), visible(value)) : visible(value)),
  change: (value) => h("bdi", {}, (value || []).map((part) => (typeof part === "number" ? h("time", { title: exactly(part) }, minute(part)) : visible(part)))),
  code: (value) => h("code", {}, visible(value)),
}

function defang(value) {
  const button = h("button", { class: "copy", type: "button", title: "Copy defanged", "aria-label": `Copy ${defanged(value)} defanged` }, "copy")
  button.addEventListener("click", (event) => { event.stopPropagation(); copy(defanged(value), button) })
  return button
}

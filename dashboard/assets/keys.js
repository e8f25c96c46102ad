// The single keys of a page; each can also be pressed with a pointer.
import { h, styled } from "./base.js"

export async function render({ model, el }) {
  await styled(el)
  el.append(h("div", { class: "component keys", role: "group", "aria-label": "Keys" }, model.keys.map(([key, what]) => (key.length === 1 && key !== "x")
    ? h("button", { type: "button", class: "key", onclick: () => model.send_msg({ action: "button", key }) }, h("kbd", {}, key), " ", what)
    : h("span", { class: "key" }, h("kbd", {}, key), " ", what))))
}

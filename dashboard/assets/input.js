// An input of panel-material-ui, drawn by its own module: here is what that module expects of a model and a view.
import { h } from "./base.js"

// What its components have besides what a page sets: their defaults, and what lasts in the browser alone.
const SHARED = { color: "primary", description: "", disabled: false, error_state: false, helper_text: "", label: "", loading: false, placeholder: "", size: "small", sx: null, theme_config: null }
const CHOICE = { bookmarks: [], disabled_options: [], dropdown_height: 500, dropdown_open: false, filter_on_search: true, filter_str: "", searchable: false, value_label: "" }
const LOW = { "& .MuiSelect-select": { paddingTop: "8px", paddingBottom: "8px" } } // as low as a text field
const KINDS = {
  Button: { disable_elevation: false, href: null, icon_size: "1em", target: "_self" },
  MultiChoice: { ...CHOICE, chip: true, delete_button: true, max_items: null, size: null, solid: true, sx: LOW },
  RadioBoxGroup: { inline: false, label_placement: "end", size: "medium" },
  Select: CHOICE,
  Switch: { edge: false },
  TextAreaInput: { auto_grow: false, cols: 20, max_rows: null, resizable: null, value_input: "" },
  TextInput: { value_input: "" },
}
const CONSTANTS = { Button: { loading_inset: 0 }, MultiChoice: { multi: true }, RadioBoxGroup: { exclusive: true } }

const styles = new WeakMap() // by shadow root: where its inputs' rules go
let made = 0

const ancestor = (view, name) => { while (view && view.model.class_name !== name) view = view.parent; return view }

// The rules of the inputs in this shadow root, once: those of the icons, and those that are made as they are drawn.
function cache(root, { createCache }, page) {
  if (!styles.has(root)) {
    const head = h("head")
    root.prepend(h("link", { rel: "stylesheet", href: page.model.css_bundle }), head)
    styles.set(root, createCache({ key: "css-inputs", prepend: true, container: head }))
  }
  return styles.get(root)
}

// A model as its module uses it: states by name. Those of the page's component are shared with the server.
function adapter(model, React, kind, dark) {
  const own = { ...SHARED, ...KINDS[kind], dark_theme: dark }, listeners = {}
  const shared = (name) => model[name] !== undefined
  const read = (name) => (shared(name) ? model[name] : own[name])
  const write = (name, next) => {
    const value = typeof next === "function" ? next(read(name)) : next
    if (shared(name)) model[name] = value
    else if (own[name] !== value) {
      own[name] = value
      for (const listener of listeners[name] || []) listener()
    }
  }
  if ("value_input" in own) {
    own.value_input = model.value
    model.on("value", () => write("value_input", model.value)) // what is typed counts until the value changes
  }
  const useState = (name) => {
    const [value, set] = React.useState(read(name))
    React.useEffect(() => {
      const changed = () => set(() => read(name))
      shared(name) ? model.on(name, changed) : (listeners[name] ||= []).push(changed)
      changed()
    }, [])
    return [value, React.useCallback((next) => write(name, next), [])]
  }
  return { ...own, id: `input-${made++}`, esm_constants: { multiline: false, multi: false, ...CONSTANTS[kind] }, data: { properties: {} }, useState,
    on: () => {}, off: () => {}, send_event: (name) => { if (name === "click") model.send_msg({ action: "click" }) } }
}

export async function render({ model, el, view }) {
  el.classList.add("input", model.kind)
  const page = ancestor(view, "Page")
  const library = (await import(new URL(page.model.esm, document.baseURI).href)).default
  const { React, CacheProvider, createRoot } = library
  const place = el.appendChild(h("div"))
  const own = adapter(model, React, model.kind, page.model.data.dark_theme)
  const around = { model: own, parent: view.parent, container: place, shadow_el: view.shadow_el, is_root: false, model_proxy: own }
  const drawn = React.createElement(library[model.kind].render, { model: own, view: around, el: place })
  const root = createRoot(place)
  root.render(React.createElement(CacheProvider, { value: cache(el.getRootNode(), library, page) }, drawn))
  model.on("remove", () => root.unmount())
}

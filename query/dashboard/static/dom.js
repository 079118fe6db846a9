// Builds elements. Text is always text: nothing here parses HTML.

/**
 * h("a", {class: "x", href: "/", onclick: f}, "text", child)
 * A property that begins with "on" is a listener; null and false are left out.
 */
export function h(tag, props, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "selected") el[name] = value;
    else el.setAttribute(name, value === true ? "" : value);
  }
  el.append(...children.flat(9).filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

/** Replaces what is in el. */
export function fill(el, ...children) {
  el.replaceChildren(...children.flat(9).filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

/** Returns a labelled select; options are [value, text]. */
export function choice(label, options, value, onchange) {
  return h("label", { class: "field" }, h("span", null, label),
    h("select", { onchange: (e) => onchange(e.target.value) },
      options.map(([v, text]) => h("option", { value: v, selected: v === value }, text))));
}

/** Returns a group of buttons of which one is on. */
export function segmented(label, options, value, onchange) {
  return h("fieldset", { class: "segmented" }, h("legend", null, label),
    options.map(([v, text, hint]) => h("label", { title: hint },
      h("input", { type: "radio", name: label, value: v, checked: v === value, onchange: () => onchange(v) }),
      h("span", null, text))));
}

/** Returns a table; columns are {name, text, number}, cell gives what a row shows. */
export function table(caption, columns, rows, cell, attributes = {}) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", attributes, h("caption", { class: "hidden" }, caption),
      h("thead", null, h("tr", null, columns.map((c) => c.head || h("th", { scope: "col", class: c.number && "number" }, c.text)))),
      h("tbody", null, rows.map((row) => h("tr", null, columns.map((c, i) => {
        const value = cell(row, c);
        return i === 0 ? h("th", { scope: "row" }, value) : h("td", { class: c.number && "number" }, value);
      }))))));
}

/** Returns a message with what to do about it. */
export function message(kind, title, text, ...more) {
  return h("section", { class: "message " + kind, role: kind === "error" ? "alert" : null }, h("h2", null, title), text && h("p", null, text), more);
}

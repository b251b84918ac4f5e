/** Bringing elements up to date without taking away what has the focus, is open, or is scrolled. */

const KEPT = new Set(["open", "style"]);

/** Makes `element` what `fresh` is. Listeners stay those of `element`: listen further up. */
export function morph(element, fresh) {
  if (!isAlike(element, fresh)) {
    element.replaceWith(fresh);
    return;
  }
  if (element.nodeType === Node.TEXT_NODE) {
    if (element.data !== fresh.data) element.data = fresh.data;
    return;
  }
  morphAttributes(element, fresh);
  morphChildren(element, [...fresh.childNodes]);
}

/** As `morph`, for what is in `element`. */
export function morphChildren(element, wanted) {
  const there = [...element.childNodes];
  wanted.forEach((child, i) => (there[i] ? morph(there[i], child) : element.append(child)));
  there.slice(wanted.length).forEach((child) => child.remove());
}

function isAlike(a, b) {
  return a.nodeName === b.nodeName && a.dataset?.key === b.dataset?.key;
}

function morphAttributes(element, fresh) {
  for (const { name, value } of [...fresh.attributes]) {
    if (!KEPT.has(name) && element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
  for (const { name } of [...element.attributes]) {
    if (!KEPT.has(name) && !fresh.hasAttribute(name)) element.removeAttribute(name);
  }
  if (element.style.cssText !== fresh.style.cssText) element.style.cssText = fresh.style.cssText;
}

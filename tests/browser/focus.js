// Where the keyboard is: the place of the element in the document, whether one sees it there, and what it is.
() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const seen = [element, element.closest("label")]
    .filter(Boolean)
    .some((one) => [null, "::after"].some((part) => getComputedStyle(one, part).outlineStyle !== "none"));
  return [[...document.querySelectorAll("*")].indexOf(element), seen, element.outerHTML.slice(0, 120)];
}

// What a page owes to those who do not see it, do not use a mouse, or see little; returns sentences about what it lacks.
() => {
  const found = [];
  const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0;
  const say = (element, what) => {
    const id = element.id ? `#${element.id}` : element.className ? `.${String(element.className).split(" ")[0]}` : "";
    found.push(`${element.tagName.toLowerCase()}${id}: ${what}`);
  };
  const textOf = (element) =>
    [...element.childNodes]
      .map((node) => (node.nodeType === Node.TEXT_NODE ? node.data : node.tagName === "IMG" ? node.alt : node.nodeType === Node.ELEMENT_NODE && node.getAttribute("aria-hidden") !== "true" ? textOf(node) : ""))
      .join(" ");
  const nameOf = (element) => {
    const by = element.getAttribute("aria-labelledby");
    if (by) return by.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
    return element.getAttribute("aria-label") ?? ([...(element.labels ?? [])].map(textOf).join(" ").trim() || textOf(element));
  };

  // names
  for (const element of document.querySelectorAll("button, a[href], input, select, textarea, [role=slider], [role=progressbar], [role=img], [role=region], [role=group], nav, dialog"))
    if (shown(element) && !nameOf(element).trim()) say(element, "has no name");
  for (const image of document.querySelectorAll("img")) if (!image.hasAttribute("alt")) say(image, "has no alt");
  for (const slider of document.querySelectorAll("[role=slider]"))
    for (const value of ["aria-valuenow", "aria-valuemin", "aria-valuemax"]) if (!slider.hasAttribute(value)) say(slider, `has no ${value}`);

  // order
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) found.push(`#${id} is there twice`);
  if (document.documentElement.lang !== "en") found.push("the language is not told");
  if (document.querySelectorAll("main").length !== 1 || !document.querySelector("header")) found.push("landmarks are missing");
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].filter(shown).map((heading) => Number(heading.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) found.push(`there are ${levels.filter((level) => level === 1).length} h1`);
  for (let index = 1; index < levels.length; index += 1) if (levels[index] > levels[index - 1] + 1) found.push(`after an h${levels[index - 1]} comes an h${levels[index]}`);
  for (const element of document.querySelectorAll("[tabindex]")) if (element.tabIndex > 0) say(element, "has a tab index of its own");

  // room
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth) found.push(`the page is ${document.documentElement.scrollWidth - document.documentElement.clientWidth} pixels too wide`);
  for (const element of document.querySelectorAll("button, a[href], select, input")) {
    if (!shown(element) || element.closest("p, dd, .skip, .sr, td, th, label") || element.classList.contains("skip")) continue;
    const box = element.getBoundingClientRect();
    if (box.width > 2 && (box.width < 24 || box.height < 24)) say(element, `is ${Math.round(box.width)} x ${Math.round(box.height)} pixels, too small to hit`);
  }

  // contrast (WCAG AA)
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = color;
    pixel.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((c) => top[c] * top[3] + under[c] * (1 - top[3])).concat(1);
  const groundOf = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const light = (color) => {
    const [r, g, b] = color.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const told = new Set();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !shown(element) || told.has(element)) continue;
    if (element.closest("button:disabled, .stale, .view, .sr, .skip, script, option, label:has(:disabled), noscript")) continue;
    told.add(element);
    const style = getComputedStyle(element);
    const ground = groundOf(element);
    const [one, other] = [light(over(rgba(style.color), ground)), light(ground)].sort((a, b) => b - a);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < (large ? 3 : 4.5)) say(element, `"${walker.currentNode.data.trim().slice(0, 30)}" has a contrast of ${ratio.toFixed(2)}`);
  }
  return found;
}

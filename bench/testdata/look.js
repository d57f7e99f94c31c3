// Looks at a report as a browser has laid it out, and leaves what it saw as JSON in a <pre> of the page around.
(() => {
  const seen = { width: innerWidth, scroll: document.documentElement.scrollWidth, background: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.body).color, problems: [], plots: {}, bars: {}, figures: {} };
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
  for (const figure of document.querySelectorAll("figure.chart")) {
    const svg = figure.querySelector(":scope > svg"), frame = svg.getBoundingClientRect();
    const problem = (text) => seen.problems.push(figure.id + ": " + text);
    if (frame.width < 150 || frame.height < 60) problem(`is ${frame.width} x ${frame.height}`);
    const within = (box) => box.left >= frame.left - 1 && box.right <= frame.right + 1 && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
    const texts = [...svg.querySelectorAll("text")].map((t) => ({ text: t.textContent, box: t.getBoundingClientRect(), size: t.getBoundingClientRect().height }));
    texts.forEach((t, i) => {
      if (!within(t.box)) problem(`"${t.text}" is clipped`);
      if (t.size < 9) problem(`"${t.text}" is ${t.size} pixels high`);
      for (const o of texts.slice(i + 1)) if (meet(t.box, o.box)) problem(`"${t.text}" and "${o.text}" overlap`);
    });
    for (const mark of svg.querySelectorAll(".dot, .ring, .bar")) {
      const box = mark.getBoundingClientRect();
      if (!within(box) || box.width === 0 || box.height === 0) problem(`a mark at ${box.left - frame.left}, ${box.top - frame.top} is clipped or has no size`);
      const style = getComputedStyle(mark);
      if (style.fill === "none" && style.stroke === "none") problem("a mark has no colour");
    }
    seen.plots[figure.id] = Object.fromEntries([...svg.querySelectorAll(".series")].map((s) =>
      [s.dataset.name, [...s.querySelectorAll(".pt")].map((p) => [Number(p.dataset.x), Number(p.dataset.y)])]));
    seen.bars[figure.id] = Object.fromEntries([...svg.querySelectorAll(".row")].map((r) =>
      [r.dataset.name, [...r.querySelectorAll(".bar")].map((b) => Number(b.dataset.value))]));
    if (!figure.querySelector("details table tbody tr")) problem("has no table");
  }
  for (const f of document.querySelectorAll("[data-figure][data-value]")) seen.figures[f.dataset.of + " " + f.dataset.figure] = Number(f.dataset.value);
  const pre = parent.document.createElement("pre");
  pre.id = "seen";
  pre.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(seen))));
  parent.document.body.append(pre);
})();

for (const svg of document.querySelectorAll('svg.graph')) {
  const lines = [...svg.querySelectorAll('.line')];
  svg.addEventListener('pointerover', e => {
    const node = e.target.closest('[data-n]');
    for (const l of lines)
      l.classList.toggle('lit', !!node && [l.dataset.a, l.dataset.b].includes(node.dataset.n));
  });
  if (!svg.dataset.names) continue;
  const names = JSON.parse(svg.dataset.names), cell = +svg.dataset.cell;
  const at = svg.dataset.at.split(',');
  const edges = new Set();
  for (const path of svg.querySelectorAll('path.first, path.late'))
    for (const [, x, y] of path.getAttribute('d').matchAll(/M([\d.]+) ([\d.]+)/g))
      edges.add([x - at[0], y - at[1]].map(v => Math.round(v / cell)).join());
  const says = svg.querySelector('.says'), cross = svg.querySelectorAll('.cross');
  svg.addEventListener('pointermove', e => {
    const p = new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const x = Math.floor((p.x - at[0]) / cell), y = Math.floor((p.y - at[1]) / cell);
    const seen = x >= 0 && y >= 0 && x < names.length && y < names.length;
    const joint = edges.has([x, y].join()) ? ' depends on ' : '  |  ';
    says.textContent = seen ? names[y] + joint + names[x] : svg.dataset.hint;
    cross.forEach((l, i) => { l.style.visibility = seen ? 'visible' : 'hidden';
      const c = +at[1 - i] + ((i ? x : y) + .5) * cell;
      for (const end of i ? ['x1', 'x2'] : ['y1', 'y2']) l.setAttribute(end, c); });
  });
}

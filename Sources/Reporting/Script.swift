/// What the page does beyond HTML; it is readable without.
let pageScript: HTML = """
    'use strict';
    const all = (query, from = document) => Array.from(from.querySelectorAll(query));
    const one = id => document.getElementById(id);
    const functions = all('.fn'), filter = one('filter'), help = one('help');
    const links = all('#list li').map(item => [item, item.textContent.toLowerCase()]);
    filter.hidden = one('tools').hidden = false;

    function applyFilter() {
        const words = filter.value.toLowerCase().trim();
        for (const [item, name] of links) item.hidden = !name.includes(words);
    }
    function current() {
        const line = innerHeight / 3;
        let found = -1;
        for (const [index, part] of functions.entries()) if (part.getBoundingClientRect().top <= line) found = index;
        return found;
    }
    function go(step) {
        const next = functions[Math.max(0, Math.min(functions.length - 1, current() + step))];
        if (next) show(next);
    }
    function show(part) {
        const body = part.querySelector('details.body');
        if (body) body.open = true;
        part.scrollIntoView({block: 'start'});
        history.replaceState(null, '', '#' + part.id);
        mark();
    }
    function mark() {
        const hash = location.hash;
        for (const [item] of links) item.firstElementChild.classList.toggle('here', item.firstElementChild.hash === hash);
    }
    function openTarget() {
        const part = document.querySelector(location.hash.length > 1 ? '#' + CSS.escape(location.hash.slice(1)) : '#top');
        for (let at = part; at; at = at.parentElement) if (at.tagName === 'DETAILS') at.open = true;
        const body = part && part.querySelector(':scope > details.body');
        if (body) body.open = true;
        if (part) part.scrollIntoView({block: 'start'});
        mark();
    }
    function progress() {
        const boxes = all('.seen input'), seen = boxes.filter(box => box.checked).length;
        one('progress').textContent = seen ? seen + ' of ' + boxes.length + ' looked at' : '';
        for (const [index, [item]] of links.entries()) item.classList.toggle('done', boxes[index].checked);
    }
    function theme() {
        const root = document.documentElement;
        const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
        root.dataset.theme = dark ? 'light' : 'dark';
    }
    function fold() {
        const part = functions[current()];
        const parts = part ? all('details.eq', part) : [];
        const open = parts.some(item => !item.open);
        for (const item of parts) item.open = open;
    }
    const keys = {
        j: () => go(1), n: () => go(1), k: () => go(-1), p: () => go(-1), t: theme, o: fold,
        x: () => { const part = functions[current()]; if (part) part.querySelector('.seen input').click(); },
        '/': () => filter.focus(), '?': () => help.open ? help.close() : help.showModal(),
    };
    addEventListener('keydown', event => {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        if (event.target.matches('input')) {
            if (event.key === 'Escape') { filter.value = ''; applyFilter(); event.target.blur(); }
            if (event.target.type !== 'checkbox') return;
        }
        const action = keys[event.key];
        if (!action) return;
        event.preventDefault();
        action();
    });
    filter.addEventListener('input', applyFilter);
    one('theme').addEventListener('click', theme);
    one('keys').addEventListener('click', keys['?']);
    addEventListener('hashchange', openTarget);
    addEventListener('change', progress);
    let folded = [];
    addEventListener('beforeprint', () => {
        folded = all('details.body:not([open]), details.file:not([open]), details.who:not([open])');
        for (const item of folded) item.open = true;
    });
    addEventListener('afterprint', () => { for (const item of folded) item.open = false; });
    if (location.hash) openTarget();
    """

/// How the page looks: the reader's own fonts, few colours, and signs beside each colour.
let pageStyle: HTML = """
    :root { color-scheme: light dark; --bg: #fdfdfc; --fg: #1d2125; --quiet: #5c6670; --line: #dfe2e5; --panel: #f4f5f4;
      --link: #0b57a4; --add: #e3f4e5; --addfg: #14532d; --del: #fce8e6; --delfg: #7f1d1d; --alt: #fdf3d7; --altfg: #6b4a00;
      --ok: #1a7f37; --bad: #b42318; --src: #42566b; --touch: #8a4b00; }
    @media (prefers-color-scheme: dark) { :root:not([data-theme=light]) { --bg: #15181b; --fg: #dfe3e6; --quiet: #97a1ab;
      --line: #30363c; --panel: #1d2125; --link: #7ab7ff; --add: #12301c; --addfg: #a6e3b4; --del: #3b1a1a; --delfg: #f5b5ae;
      --alt: #352b10; --altfg: #ecd08a; --ok: #57c272; --bad: #ff8a7d; --src: #93a9c0; --touch: #f0b464; } }
    :root[data-theme=dark] { color-scheme: dark; --bg: #15181b; --fg: #dfe3e6; --quiet: #97a1ab; --line: #30363c;
      --panel: #1d2125; --link: #7ab7ff; --add: #12301c; --addfg: #a6e3b4; --del: #3b1a1a; --delfg: #f5b5ae; --alt: #352b10;
      --altfg: #ecd08a; --ok: #57c272; --bad: #ff8a7d; --src: #93a9c0; --touch: #f0b464; }
    :root[data-theme=light] { color-scheme: light; }
    * { box-sizing: border-box; }
    body { margin: 0; background: var(--bg); color: var(--fg); font: 16px/1.55 system-ui, sans-serif; display: grid;
      grid-template-columns: 16rem minmax(0, 1fr); overflow-wrap: anywhere; }
    code, pre, kbd { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .86em; }
    a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: .15em; }
    nav { position: sticky; top: 0; height: 100vh; display: flex; flex-direction: column; padding: 1.4rem 1rem 1rem;
      border-right: 1px solid var(--line); background: var(--panel); font-size: .875rem; }
    nav ul { list-style: none; margin: 0 0 .8rem; padding: 0; }
    nav a { display: block; padding: .16rem .5rem; border-radius: 4px; color: inherit; text-decoration: none; }
    nav a:hover, nav a.here { background: var(--line); }
    nav .brand { margin: 0 0 .8rem; font-weight: 650; }
    #list { flex: 0 1 auto; min-height: 4rem; overflow: auto; border-block: 1px solid var(--line); padding: .4rem 0; }
    #list a { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .8rem; white-space: nowrap; overflow: hidden;
      text-overflow: ellipsis; }
    #list .done a { color: var(--quiet); } #list .done a::after { content: " ✓"; }
    #filter { width: 100%; margin-bottom: .4rem; padding: .3rem .5rem; }
    #progress { margin: 0; color: var(--quiet); min-height: 1.5em; }
    button { font: inherit; font-size: .8rem; padding: .15rem .6rem; border: 1px solid var(--line); border-radius: 4px;
      background: var(--bg); color: inherit; cursor: pointer; }
    input[type=text], input[type=search] { font: inherit; color: inherit; background: var(--bg); border: 1px solid var(--line);
      border-radius: 4px; }
    :focus-visible { outline: 2px solid var(--link); outline-offset: 1px; }
    main { padding: 2.4rem clamp(1rem, 3vw, 3rem) 6rem; max-width: 92rem; }
    h1 { font-size: 2.1rem; line-height: 1.15; margin: .1rem 0 .6rem; letter-spacing: -.01em; }
    section > h2 { font-size: 1.4rem; margin: 3.4rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
    h3 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; }
    p { margin: .4rem 0 .8rem; max-width: 46rem; }
    .eyebrow { margin: 0; text-transform: uppercase; letter-spacing: .08em; font-size: .75rem; color: var(--quiet); }
    .lead { font-size: 1.18rem; max-width: 50rem; }
    .cve { white-space: nowrap; }
    .quiet, .cnt { color: var(--quiet); } .quiet { font-size: .92rem; }
    .cards { list-style: none; margin: 1.4rem 0; padding: 0; display: grid; gap: .8rem;
      grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); }
    .cards li { display: flex; gap: .7rem; padding: .8rem .9rem; border: 1px solid var(--line); border-radius: 8px;
      background: var(--panel); }
    .cards h2 { font-size: .98rem; margin: 0; line-height: 1.35; } .cards p { margin: .15rem 0 0; font-size: .87rem; color: var(--quiet); }
    .sign { font-weight: 700; font-size: 1.1rem; line-height: 1.25; width: 1.1rem; text-align: center; }
    .ok .sign { color: var(--ok); } .ask .sign { color: var(--touch); } .bad .sign { color: var(--bad); }
    .cards .ask { border-color: var(--touch); } .cards .bad { border-color: var(--bad); }
    .alarm { border: 1px solid var(--touch); border-left-width: 6px; border-radius: 6px; padding: .7rem 1rem; margin: 1rem 0;
      background: var(--alt); max-width: 60rem; }
    .alarm.bad { border-color: var(--bad); background: var(--del); }
    .steps h2 { font-size: 1.05rem; margin: 1.6rem 0 .2rem; padding: 0; border: 0; } .steps ol { margin: 0; padding-left: 1.4rem; max-width: 50rem; }
    .scroll { overflow-x: auto; }
    table { border-collapse: collapse; font-size: .9rem; margin: .6rem 0; }
    th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); }
    thead th { font-size: .78rem; color: var(--quiet); font-weight: 500; } th[scope=row] { font-weight: 500; }
    .n { text-align: right; font-variant-numeric: tabular-nums; }
    code.id { font-size: .8em; }
    .facts th { white-space: nowrap; color: var(--quiet); font-weight: 500; }
    .points > li { margin: .9rem 0; padding: .7rem 1rem; border-left: 4px solid var(--touch); background: var(--panel); border-radius: 0 6px 6px 0; }
    .points h3 { margin: 0; } .points p { margin: .3rem 0; max-width: none; }
    .answer { display: flex; flex-wrap: wrap; gap: .3rem .8rem; align-items: baseline; font-size: .88rem; color: var(--quiet); }
    .answer input { flex: 1 1 18rem; padding: .2rem .4rem; }
    .tag { font-size: .72rem; font-weight: 600; padding: .1rem .45rem; border-radius: 99px; vertical-align: .1em; white-space: nowrap; }
    .tag.new { background: var(--add); color: var(--addfg); } .tag.changed { background: var(--alt); color: var(--altfg); }
    .fn { content-visibility: auto; contain-intrinsic-size: auto 500px; scroll-margin-top: .5rem; padding: .2rem 0 1.2rem;
      border-bottom: 1px solid var(--line); }
    .fn > h3 { font-size: 1.12rem; } .num { color: var(--quiet); text-decoration: none; font-weight: 400; font-size: .85em; margin-right: .2rem; }
    .seen { float: right; font-size: .82rem; font-weight: 400; color: var(--quiet); }
    .why { max-width: 60rem; } .remarks { font-size: .92rem; color: var(--altfg); max-width: 56rem; }
    details > summary { cursor: pointer; padding: .15rem 0; } details.body > summary, details.who > summary, details.file > summary { font-size: .92rem; }
    details.eq > summary { font-size: .8rem; color: var(--quiet); padding: .1rem .6rem; background: var(--panel); border-block: 1px solid var(--line); }
    pre { margin: 0; font-size: .78rem; line-height: 1.5; white-space: pre; overflow-x: auto; scrollbar-width: thin; overflow-wrap: normal; tab-size: 4; }
    .pair, .heads { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); column-gap: 1px; background: var(--line); }
    .pair { border-inline: 1px solid var(--line); } .pair pre { background: var(--bg); padding: .1rem 0; }
    .pair.one { grid-template-columns: minmax(0, 1fr); border: 1px solid var(--line); }
    .heads { border: 1px solid var(--line); border-bottom: 0; border-radius: 6px 6px 0 0; overflow: hidden; font-size: .8rem; color: var(--quiet); }
    .heads span { background: var(--panel); padding: .25rem .7rem; }
    details.body { border-bottom: 0; } details.body > .pair:last-child, details.eq:last-child .pair { border-bottom: 1px solid var(--line); }
    ins, del { text-decoration: none; } pre ins, pre del, pre u, pre b, pre s { display: block; text-decoration: none; font-weight: inherit; min-height: 1.5em; min-width: max-content; }
    ins { background: var(--add); color: var(--addfg); } del { background: var(--del); color: var(--delfg); }
    u { background: var(--alt); color: var(--altfg); text-decoration: none; }
    pre b { color: var(--src); padding-left: 1rem; min-width: 0; overflow: hidden; text-overflow: ellipsis; font-style: italic; }
    b.t { color: var(--touch); font-weight: 600; font-style: normal; } .code b { padding-left: 0; font-style: normal; min-width: max-content; background: var(--panel); }
    pre s.g { background: repeating-linear-gradient(135deg, transparent 0 5px, var(--panel) 5px 7px); }
    .code, .msg { border: 1px solid var(--line); border-radius: 6px; padding: .3rem .6rem; } .msg { white-space: pre-wrap; }
    .code ins, .code del, .code b { margin: 0 -.6rem; padding: 0 .6rem; }
    .file { margin: .6rem 0; } .cnt ins, .cnt del { background: none; }
    .diff > h3 { font-family: inherit; }
    .graph { display: block; margin: .3rem 0; max-width: 100%; height: auto; } .graph path { fill: none; stroke: var(--quiet); stroke-opacity: .5; }
    .graph rect { fill: var(--panel); stroke: var(--line); } .graph .f rect { fill: var(--alt); stroke: var(--touch); }
    .graph text { fill: var(--fg); font: 12px ui-monospace, "DejaVu Sans Mono", monospace; } .graph .a text { fill: var(--quiet); }
    .names { list-style: none; margin: .2rem 0 .8rem; padding: 0; columns: 22rem; font-size: .88rem; } .names span { color: var(--quiet); font-size: .85em; }
    .cmds { font-size: .8rem; } .warn { color: var(--bad); }
    .u { font: 600 .8em ui-monospace, monospace; color: var(--bad); border: 1px solid currentColor; border-radius: 3px; padding: 0 .15em; margin: 0 .1em; }
    dialog { border: 1px solid var(--line); border-radius: 8px; background: var(--bg); color: var(--fg); padding: 1.2rem 1.6rem; }
    dialog h2 { margin: 0 0 .6rem; font-size: 1.1rem; } dl { display: grid; grid-template-columns: auto 1fr; gap: .3rem 1rem; margin: 0 0 1rem; } dd { margin: 0; }
    kbd { border: 1px solid var(--line); border-radius: 3px; padding: 0 .3em; }
    @media (max-width: 60rem) { body { display: block; } nav { position: static; height: auto; border-right: 0; border-bottom: 1px solid var(--line); }
      #list { max-height: 9rem; } main { padding-top: 1.4rem; } h1 { font-size: 1.7rem; } pre { font-size: .7rem; } }
    @media (max-width: 32rem) { .pair, .heads { grid-template-columns: minmax(0, 1fr); row-gap: 1px; } .seen { float: none; display: block; } }
    @media print { body { display: block; font-size: 10pt; } nav, dialog, .seen, #filter { display: none; } main { padding: 0; max-width: none; }
      .fn { content-visibility: visible; } pre { font-size: 6.5pt; overflow: visible; white-space: pre-wrap; } .answer input { border: 0; border-bottom: 1px solid; border-radius: 0; }
      h2, h3, summary { break-after: avoid; } pre ins, pre del, pre u, pre b { min-width: 0; } a { color: inherit; } section > h2 { margin-top: 1.5rem; } }
    """

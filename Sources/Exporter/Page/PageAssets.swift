/// The style sheet of the page.
///
/// The fonts are the system's. Digits have one width, so that nothing moves while numbers change.
enum PageStyle {
    static let source: StaticString = """

        :root {
          color-scheme: light dark;
          --paper: #f5f5f2; --card: #fff; --ink: #1b1e22; --soft: #59606a; --line: #e2e3df;
          --track: #ebecea; --phase: #86a8d0; --running: #1d59b3; --reserve: #dbe6f5;
          --well: #12683b; --well-wash: #e2f2e9; --busy: #1d59b3; --busy-wash: #e5eefb;
          --warn: #855000; --warn-wash: #fcefd8; --bad: #a5231b; --bad-wash: #fbe6e4;
          --quiet: #59606a; --quiet-wash: #ecedea;
          --late: #d99a2b; --late-line: #f6dba8; --dead: #c8443b; --dead-line: #f0b5b0;
        }
        @media (prefers-color-scheme: dark) {
          :root {
            --paper: #121416; --card: #1a1d20; --ink: #e8e9eb; --soft: #a2a9b3; --line: #2b2f34;
            --track: #272b30; --phase: #5b82b3; --running: #4d86d9; --reserve: #243650;
            --well: #72cf9d; --well-wash: #15301f; --busy: #8fbaff; --busy-wash: #16294a;
            --warn: #efb85c; --warn-wash: #382a0f; --bad: #ff9d94; --bad-wash: #441d1a;
            --quiet: #a2a9b3; --quiet-wash: #2a2e33;
            --late: #b07a17; --late-line: #6b4a0d; --dead: #b8413a; --dead-line: #6f2722;
          }
        }
        * { box-sizing: border-box; }
        html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
        body {
          margin: 0 auto; max-width: 58rem; padding: 0 1.5rem 3rem;
          background: var(--paper); color: var(--ink);
          font: 0.9375rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
          font-variant-numeric: tabular-nums;
        }
        a { color: inherit; text-decoration-color: var(--soft); text-underline-offset: 0.2em; }
        a:hover { text-decoration-thickness: 2px; }
        a:focus-visible { outline: 2px solid var(--busy); outline-offset: 3px; border-radius: 2px; }
        code, .path { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 0.86em; }
        .masthead {
          display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0.25rem 2rem;
          padding: 1.25rem 0; color: var(--soft); font-size: 0.875rem;
        }
        .masthead p { margin: 0; }
        .brand { font-weight: 650; letter-spacing: 0.01em; color: var(--ink); }
        nav { display: flex; gap: 1.25rem; }
        h1 {
          display: flex; align-items: baseline; gap: 0.75rem; margin: 1rem 0 1.5rem;
          font-size: 1.75rem; line-height: 1.2; font-weight: 600; letter-spacing: -0.015em;
          overflow-wrap: anywhere;
        }
        h1::before {
          content: ""; flex: none; width: 0.6em; height: 0.6em; border-radius: 50%;
          background: var(--severity);
        }
        .well { --severity: var(--well); --wash: var(--well-wash); }
        .busy { --severity: var(--busy); --wash: var(--busy-wash); }
        .warn { --severity: var(--warn); --wash: var(--warn-wash); }
        .bad { --severity: var(--bad); --wash: var(--bad-wash); }
        .quiet { --severity: var(--quiet); --wash: var(--quiet-wash); }
        .badge {
          display: inline-flex; align-items: baseline; gap: 0.4em; padding: 0.05em 0.6em;
          border-radius: 1em; background: var(--wash); color: var(--severity);
          font-size: 0.8125rem; font-weight: 600; white-space: nowrap;
        }
        .mark { min-width: 0.8em; font-weight: 700; text-align: center; }
        .notice { padding: 0.6rem 1rem; border-left: 3px solid var(--busy); background: var(--busy-wash); }
        .overview { display: flex; flex-wrap: wrap; gap: 0.5rem 2rem; margin: 0 0 1.5rem; padding: 0; list-style: none; }
        .overview li { display: flex; align-items: baseline; gap: 0.6rem; }
        .recorder {
          margin: 0 0 1.5rem; padding: 1.5rem 1.75rem; overflow-wrap: anywhere;
          border: 1px solid var(--line); border-radius: 0.75rem; background: var(--card);
        }
        .recorder > :first-child { margin-top: 0; }
        .recorder > :last-child { margin-bottom: 0; }
        .recorder > header { display: flex; flex-wrap: wrap; align-items: center; gap: 0.25rem 0.75rem; }
        h2 { margin: 0; font-size: 1.1875rem; font-weight: 600; letter-spacing: -0.005em; }
        .detail { margin: 0.5rem 0 0; }
        dl { display: flex; flex-wrap: wrap; gap: 0.25rem 2rem; margin: 0.75rem 0 0; font-size: 0.875rem; }
        dl div { display: flex; gap: 0.5rem; }
        dt { color: var(--soft); }
        dd { margin: 0; }
        .note, .path, .loss { display: block; color: var(--soft); font-size: 0.8125rem; font-weight: 400; }
        .loss { color: var(--bad); font-weight: 600; }
        table { width: 100%; margin: 1.75rem 0 0; border-collapse: collapse; }
        caption, figcaption {
          padding: 0 0 0.5rem; color: var(--soft); font-size: 0.8125rem; font-weight: 600; text-align: left;
        }
        th, td { padding: 0.5rem 0 0.5rem 1rem; text-align: left; vertical-align: top; font-weight: 400; }
        th:first-child, td:first-child { padding-left: 0; }
        thead th { padding-top: 0; padding-bottom: 0.35rem; color: var(--soft); font-size: 0.8125rem; }
        tbody tr { border-top: 1px solid var(--line); }
        time { white-space: nowrap; }
        .number { text-align: right; white-space: nowrap; }
        .number .note { white-space: normal; }
        .recordings .number { width: 7rem; }
        .name { margin-right: 0.6rem; font-weight: 600; }
        .shutdowns th:first-child { width: 12.5rem; }
        .shutdowns .number { width: 7.5rem; }
        .shutdowns .bar { margin: 0.35rem 0 0.25rem; }
        .shutdown { margin: 1.75rem 0 0; }
        .clock { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 0.6rem; margin: 0 0 0.6rem; color: var(--soft); }
        .clock strong { color: var(--ink); font-size: 2.25rem; line-height: 1.15; font-weight: 600; letter-spacing: -0.02em; }
        .bar, .scale { display: block; overflow: visible; }
        .bar rect { shape-rendering: geometricPrecision; }
        .track { fill: var(--track); }
        .reserve { fill: var(--reserve); }
        .phase { stroke: var(--card); stroke-width: 1; fill: var(--phase); }
        .phase.running { fill: var(--running); }
        .phase.error, .phase.timeout { fill: url(#late); }
        .phase.killed { fill: url(#dead); }
        .late rect { fill: var(--late); } .late line { stroke: var(--late-line); stroke-width: 4; }
        .dead rect { fill: var(--dead); } .dead line { stroke: var(--dead-line); stroke-width: 4; }
        .deadline { stroke: var(--ink); stroke-width: 2; }
        .scale { margin-top: 0.25rem; }
        .scale text { fill: var(--soft); font-size: 0.75rem; }
        .phases { margin-top: 0.75rem; font-size: 0.875rem; }
        .phases th, .phases td { padding-top: 0.3rem; padding-bottom: 0.3rem; }
        .phases .number { width: 6rem; }
        .current th { font-weight: 600; }
        .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
        footer { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 2rem; color: var(--soft); font-size: 0.8125rem; }
        footer p { margin: 0; }
        #connection {
          position: fixed; inset: auto 0 0; margin: 0; padding: 0.75rem 1.5rem; text-align: center;
          background: var(--bad); color: var(--card); font-weight: 600;
        }
        .stale main { opacity: 0.6; }
        @media (prefers-reduced-motion: no-preference) {
          .phase.running { animation: breathe 2.4s ease-in-out infinite; }
          @keyframes breathe { 50% { opacity: 0.65; } }
        }
        @media (max-width: 40rem) {
          body { padding: 0 0.75rem 3rem; }
          h1 { margin: 0.5rem 0 1rem; font-size: 1.375rem; }
          .recorder { padding: 1.1rem 1rem; }
          th, td { padding-left: 0.6rem; }
          .recordings .number { width: 4.6rem; }
          .shutdowns th:first-child { width: 7.2rem; }
          .shutdowns .number { width: 4.8rem; }
          .shutdowns time { white-space: normal; }
          .phases .number { width: 4.2rem; }
          .phases th:first-child { width: 36%; }
        }

        """
}

/// The script of the page: fetches the page periodically, and changes only what differs, so that nothing flickers.
///
/// It requests `?update`, the page without style and script, which the browser would report as violations of the policy.
enum PageScript {
    static let source: StaticString = """

        "use strict";
        const main = document.querySelector("main");
        const notice = document.getElementById("connection");
        let timer = 0;
        let lostAt = null;

        // Makes `old` equal to `fresh`, and keeps all nodes that need no replacement.
        function update(old, fresh) {
          if (old.nodeType !== Node.ELEMENT_NODE) {
            if (old.data !== fresh.data) old.data = fresh.data;
            return;
          }
          for (const name of old.getAttributeNames()) {
            if (!fresh.hasAttribute(name)) old.removeAttribute(name);
          }
          for (const {name, value} of fresh.attributes) {
            if (old.getAttribute(name) !== value) old.setAttribute(name, value);
          }
          const after = [...fresh.childNodes];
          [...old.childNodes].slice(after.length).forEach((node) => node.remove());
          after.forEach((node, index) => {
            const before = old.childNodes[index];
            if (before === undefined) old.append(node);
            else if (before.nodeName !== node.nodeName) before.replaceWith(node);
            else update(before, node);
          });
        }

        function show(text) {
          const page = new DOMParser().parseFromString(text, "text/html");
          const fresh = page.querySelector("main");
          if (fresh === null) throw new Error("not the page");
          update(main, fresh);
          if (document.title !== page.title) document.title = page.title;
          update(document.querySelector("link[rel=icon]"), page.querySelector("link[rel=icon]"));
        }

        function setLost(lost) {
          lostAt = lost ? lostAt ?? new Date() : null;
          document.body.classList.toggle("stale", lost);
          notice.hidden = !lost;
          const time = lostAt?.toISOString().slice(11, 19);
          const message = lost ? `The exporter has not answered since ${time}. This page shows the state at that time.` : "";
          if (notice.textContent !== message) notice.textContent = message;
        }

        function schedule() {
          clearTimeout(timer);
          if (!document.hidden) timer = setTimeout(refresh, main.dataset.refresh * 1000);
        }

        async function refresh() {
          try {
            const options = {cache: "no-store", signal: AbortSignal.timeout(5000)};
            const response = await fetch("?update", options);
            if (!response.ok) throw new Error(`status ${response.status}`);
            show(await response.text());
            setLost(false);
          } catch {
            setLost(true);
          }
          schedule();
        }

        document.addEventListener("visibilitychange", () => {
          clearTimeout(timer);
          if (!document.hidden) refresh();
        });
        schedule();

        """
}

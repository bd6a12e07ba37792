/// The page's script: fetches the page again and again, and changes what differs, so that nothing flickers or moves.
///
/// It asks for `?update`, the page without its inlines: the policy would have the browser complain of them.
enum PageScript {
    static let source: StaticString = """

        "use strict";
        const main = document.querySelector("main");
        const notice = document.getElementById("connection");
        let timer = 0;
        let lostAt = null;

        // Makes `old` what `fresh` is, and keeps every node that can stay.
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

        function tell(lost) {
          lostAt = lost ? lostAt ?? new Date() : null;
          document.body.classList.toggle("stale", lost);
          notice.hidden = !lost;
          const time = lostAt?.toISOString().slice(11, 19);
          const words = lost ? `The exporter has not answered since ${time}. What you see is from then.` : "";
          if (notice.textContent !== words) notice.textContent = words;
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
            tell(false);
          } catch {
            tell(true);
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

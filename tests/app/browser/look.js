// What the tests ask of a page; Tab puts this into every page before it loads.

window.looking = {
    lastChange: performance.now(),

    main: () => document.querySelector('[data-testid="stMain"]'),

    all: kind => [...document.querySelectorAll(`[data-testid="${kind}"]`)],

    // The script has ended, charts, tables and pictures are there, and nothing moved for a while.
    isSettled() {
        const app = document.querySelector('[data-testid="stApp"]')
        const busy = '[data-testid="stSkeleton"], [data-testid="stSpinner"], [data-stale="true"]'
        return app?.dataset.testScriptState === 'notRunning'
            && app.dataset.testConnectionState === 'CONNECTED'
            && document.querySelector('h1') !== null
            && document.querySelector(busy) === null
            && [...document.images].every(image => image.complete)
            && this.all('stVegaLiteChart').every(each => each.querySelector('svg.marks, canvas.marks'))
            && this.all('stDataFrame').every(each => each.querySelector('[data-testid^="glide-cell"]'))
            && performance.now() - this.lastChange > 500
    },

    // Words, numbers of tables, outlines of charts, pictures; the same in tabs of one size. A chart's
    // words are sorted: one that changes keeps the ticks it has and adds the new ones at its end.
    content() {
        const found = selector => [...this.main().querySelectorAll(selector)]
        const charts = found('svg.marks').map(chart =>
            [...chart.querySelectorAll('text')].map(text => text.textContent).sort())
        const drawn = new Set(charts.flat())
        return [
            ...this.main().innerText.split('\n').filter(words => !drawn.has(words)),
            ...charts.flat(),
            ...found('[data-testid^="glide-cell"]').map(cell => cell.textContent),
            ...found('.role-mark path').map(path => path.getAttribute('d')),
            ...found('canvas.marks').map(canvas => canvas.toDataURL()),
            ...found('img').map(image => image.src.replace(/^.*\/media\//, '')),
        ]
    },

    hasChanged(before) {
        return JSON.stringify(this.content()) !== JSON.stringify(before)
    },

    isDark() {
        const app = document.querySelector('[data-testid="stApp"]')
        const parts = getComputedStyle(app).backgroundColor.match(/\d+/g).slice(0, 3)
        return parts.every(part => part < 60)
    },

    // How much is drawn in each chart, by what the chart says of itself.
    marks() {
        const drawn = this.all('stVegaLiteChart').map(chart => {
            const canvas = chart.querySelector('canvas.marks')
            const number = canvas ? this.coloured(canvas) : this.shapes(chart)
            return [chart.getAttribute('aria-label'), number]
        })
        return Object.fromEntries(drawn)
    },

    shapes(chart) {
        const kinds = ['line', 'symbol', 'rect', 'area'].map(kind => `.mark-${kind}.role-mark path`)
        return [...chart.querySelectorAll(kinds)]
            .filter(mark => mark.getBoundingClientRect().width > 0).length
    },

    // Pixels that are far from grey.
    coloured(canvas) {
        const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
        let number = 0
        for (let at = 0; at < data.length; at += 4) {
            const rgb = data.slice(at, at + 3)
            number += Math.max(...rgb) - Math.min(...rgb) > 60
        }
        return number
    },

    // What makes the page scroll sideways, charts that stick out, and their words that are cut.
    cutOff() {
        const main = this.main()
        const found = []
        if (document.documentElement.scrollWidth > window.innerWidth) found.push('window scrolls')
        if (main.scrollWidth > main.clientWidth) found.push('page scrolls')
        for (const chart of this.all('stVegaLiteChart')) {
            const name = chart.getAttribute('aria-label')
            const drawn = chart.querySelector('svg.marks, canvas.marks')
            const box = drawn.getBoundingClientRect()
            if (this.isOutside(box, main.getBoundingClientRect())) found.push(`outside: ${name}`)
            if (box.width < 200) found.push(`${box.width} pixels wide: ${name}`)
            for (const text of drawn.querySelectorAll('text')) {
                if (this.isOutside(text.getBoundingClientRect(), box))
                    found.push(`cut: ${text.textContent} in ${name}`)
            }
        }
        return found
    },

    // The box of a word is a little larger than its letters.
    isOutside: (inner, outer) => inner.right > outer.right + 4 || inner.left < outer.left - 4,
}

new MutationObserver(() => { window.looking.lastChange = performance.now() }).observe(
    document, {subtree: true, childList: true, attributes: true, characterData: true})

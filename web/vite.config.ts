// How the webmail is built. Everything lands under /assets/ with a hashed name, so the server may
// let browsers keep it for ever; only index.html and favicon.svg are asked for again.
import { defineConfig, type ProxyOptions } from 'vite';

const DEMO = 'http://127.0.0.1:8080';

// The server refuses requests that come from another origin; in development the page comes
// from Vite's port, so the proxy says the server's own.
const toDemo: ProxyOptions = { target: DEMO, changeOrigin: true, headers: { origin: DEMO } };

export default defineConfig({
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    target: 'es2022',
    // The page's Content-Security-Policy allows no data: scripts or styles, only files.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      '/auth': toDemo,
      '/rpc': toDemo,
      '/events': toDemo,
      '/message': toDemo,
      '/blob': toDemo,
    },
  },
});

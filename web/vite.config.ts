// How the webmail is built. Everything lands under /assets/ with a hashed name, so the server may
// let browsers keep it for ever; only index.html and favicon.svg are asked for again.
import { defineConfig, loadEnv, type ProxyOptions } from 'vite';

export default defineConfig(({ mode }) => {
  // `npm run dev` shows the mail of this server.
  const target = loadEnv(mode, '.', 'OPENPOCZTA_')['OPENPOCZTA_URL'] ?? 'http://127.0.0.1:8080';
  // It refuses requests that come from another origin; the page comes from Vite's port, so the
  // proxy says the server's own.
  const server: ProxyOptions = { target, changeOrigin: true, headers: { origin: target } };
  return {
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
        '/auth': server,
        '/rpc': server,
        '/events': server,
        '/message': server,
        '/blob': server,
      },
    },
  };
});

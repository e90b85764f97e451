// The start: language, address, keys, session; then the page.
import { render } from 'preact';
import { startI18n } from './i18n';
import { startKeys } from './keys';
import { startRouter } from './router';
import { startMail } from './state/start';
import { startSession } from './state/session';
import { App } from './views/App';
import './styles/tokens.css';
import './styles/base.css';
import './styles/layout.css';
import './styles/folders.css';
import './styles/list.css';
import './styles/letter.css';
import './styles/overlays.css';
import './styles/login.css';

startI18n();
startRouter();
startKeys();
startMail();
void startSession();

const root = document.getElementById('app');
if (root) render(<App />, root);

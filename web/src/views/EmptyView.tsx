// A quiet picture and two lines where there is nothing to show.
import type { ComponentChildren } from 'preact';
import { Icon } from '../ui/Icon';
import type { IconName } from '../ui/icons';

type Props = { icon: IconName; title: string; lead: string; children?: ComponentChildren };

export function EmptyView({ icon, title, lead, children }: Props) {
  return (
    <div class="empty">
      <div class="empty-art">
        <Icon name={icon} />
      </div>
      <p class="empty-title">{title}</p>
      <p class="empty-lead">{lead}</p>
      {children}
    </div>
  );
}

CREATE TRIGGER `providers_set` AFTER INSERT ON `providers` WHEN new.`id` = 'ultravox' BEGIN
	INSERT INTO `agent_syncs`(`tenant_id`, `agent_id`, `due_at`)
		SELECT `tenant_id`, `id`, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') FROM `agents`
		WHERE `tenant_id` = new.`tenant_id` AND `kind` = 'ultravox'
		ON CONFLICT (`tenant_id`, `agent_id`) DO UPDATE SET `asked` = `asked` + 1, `attempts` = 0,
			`due_at` = CASE WHEN `claim` IS NULL THEN excluded.`due_at` ELSE `due_at` END;
	UPDATE `agents` SET `sync_status` = 'pending', `sync_error` = NULL
		WHERE `tenant_id` = new.`tenant_id` AND `kind` = 'ultravox';
END;--> statement-breakpoint
CREATE TRIGGER `providers_changed` AFTER UPDATE ON `providers` WHEN new.`id` = 'ultravox' BEGIN
	INSERT INTO `agent_syncs`(`tenant_id`, `agent_id`, `due_at`)
		SELECT `tenant_id`, `id`, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') FROM `agents`
		WHERE `tenant_id` = new.`tenant_id` AND `kind` = 'ultravox'
		ON CONFLICT (`tenant_id`, `agent_id`) DO UPDATE SET `asked` = `asked` + 1, `attempts` = 0,
			`due_at` = CASE WHEN `claim` IS NULL THEN excluded.`due_at` ELSE `due_at` END;
	UPDATE `agents` SET `sync_status` = 'pending', `sync_error` = NULL
		WHERE `tenant_id` = new.`tenant_id` AND `kind` = 'ultravox';
END;--> statement-breakpoint
CREATE TRIGGER `providers_unset` AFTER DELETE ON `providers` WHEN old.`id` = 'ultravox' BEGIN
	INSERT INTO `agent_syncs`(`tenant_id`, `agent_id`, `due_at`)
		SELECT `tenant_id`, `id`, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') FROM `agents`
		WHERE `tenant_id` = old.`tenant_id` AND `kind` = 'ultravox'
		ON CONFLICT (`tenant_id`, `agent_id`) DO UPDATE SET `asked` = `asked` + 1, `attempts` = 0,
			`due_at` = CASE WHEN `claim` IS NULL THEN excluded.`due_at` ELSE `due_at` END;
	UPDATE `agents` SET `sync_status` = 'pending', `sync_error` = NULL
		WHERE `tenant_id` = old.`tenant_id` AND `kind` = 'ultravox';
END;--> statement-breakpoint
CREATE TRIGGER `agents_synced` AFTER UPDATE OF `sync_status` ON `agents`
	WHEN new.`version` = old.`version` AND new.`sync_status` IS NOT old.`sync_status` BEGIN
	UPDATE `agents` SET `version` = `version` + 1 WHERE `tenant_id` = new.`tenant_id` AND `id` = new.`id`;
END;

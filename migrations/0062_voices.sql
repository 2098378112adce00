CREATE TABLE `voices` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`name` text NOT NULL,
	`kind` text NOT NULL,
	`language` text,
	`provider` text NOT NULL,
	`provider_voice_id` text,
	`own` integer NOT NULL,
	`status` text NOT NULL,
	`error` text,
	`file_ids` text NOT NULL,
	`job_id` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE TRIGGER `voices_left` AFTER DELETE ON `voices` BEGIN
	INSERT INTO `agent_syncs`(`tenant_id`, `agent_id`, `due_at`)
		SELECT `tenant_id`, `id`, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') FROM `agents`
		WHERE `tenant_id` = old.`tenant_id` AND `kind` = 'ultravox' AND `voice_id` = old.`id`
		ON CONFLICT (`tenant_id`, `agent_id`) DO UPDATE SET `asked` = `asked` + 1, `attempts` = 0,
			`due_at` = CASE WHEN `claim` IS NULL THEN excluded.`due_at` ELSE `due_at` END;
	UPDATE `agents` SET
		`voice_id` = NULL,
		`sync_status` = CASE WHEN `kind` = 'ultravox' THEN 'pending' END,
		`version` = `version` + 1, `updated_at` = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
		WHERE `tenant_id` = old.`tenant_id` AND `voice_id` = old.`id`;
END;
--> statement-breakpoint
CREATE TRIGGER `voices_ready` AFTER UPDATE OF `provider_voice_id` ON `voices` BEGIN
	INSERT INTO `agent_syncs`(`tenant_id`, `agent_id`, `due_at`)
		SELECT `tenant_id`, `id`, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') FROM `agents`
		WHERE `tenant_id` = new.`tenant_id` AND `kind` = 'ultravox' AND `voice_id` = new.`id`
		ON CONFLICT (`tenant_id`, `agent_id`) DO UPDATE SET `asked` = `asked` + 1, `attempts` = 0,
			`due_at` = CASE WHEN `claim` IS NULL THEN excluded.`due_at` ELSE `due_at` END;
	UPDATE `agents` SET `sync_status` = 'pending'
		WHERE `tenant_id` = new.`tenant_id` AND `kind` = 'ultravox' AND `voice_id` = new.`id`;
END;
